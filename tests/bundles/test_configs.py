"""Every bundle is what ``bundles/common/build.py`` makes of the shared configs and the bundle's differences."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import morphseek_monai

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
COMMON = BUNDLES / "common"
ReadConfig = Callable[[Path, str], dict[str, Any]]


@pytest.fixture(scope="module", params=sorted(path.stem for path in COMMON.glob("morphseek_*.json")))
def bundle(request: pytest.FixtureRequest) -> Path:
    """Each bundle in turn."""
    return BUNDLES / str(request.param)


@pytest.fixture(scope="module")
def build() -> ModuleType:
    """The script, as a module."""
    spec = importlib.util.spec_from_file_location("build_bundles", COMMON / "build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def flatten(node: Any, path: str = "") -> dict[str, Any]:
    """Values by their id, ``a#b#0``; lists of numbers are values."""
    if isinstance(node, dict):
        items: Any = node.items()
    elif isinstance(node, list) and any(isinstance(item, dict | str) for item in node):
        items = enumerate(node)
    else:
        return {path: node}
    return {name: value for key, item in items for name, value in flatten(item, f"{path}#{key}".lstrip("#")).items()}


def test_every_bundle_has_a_source(build: ModuleType) -> None:
    """All that register are made from this folder; one takes single images, and has a test file of its own."""
    folders = {path.name for path in BUNDLES.iterdir() if (path / "configs").is_dir()}
    assert folders == build.BUNDLES | {"morphseek_brain_atlas_segmentation"} and len(folders) == 6


def test_bundles_are_as_built(bundle: Path, build: ModuleType) -> None:
    """Else run ``python bundles/common/build.py``; what is edited in a bundle by hand would be lost."""
    made = build.files(bundle.name)
    committed = {path: (bundle / path).read_text(encoding="utf-8") for path in made}
    assert [path for path in made if committed[path] != made[path]] == []
    configs = {f"configs/{path.name}" for path in (bundle / "configs").iterdir()}
    assert configs == {path for path in made if path.startswith("configs/")}


def test_differences_reach_the_bundle(bundle: Path, build: ModuleType, read_config: ReadConfig) -> None:
    """Each id that a bundle's file names, under "shared" or for one config, has its value there."""
    different = json.loads((COMMON / f"{bundle.name}.json").read_text(encoding="utf-8"))
    reached = set()
    for name in ("train", "evaluate", "inference", "metadata"):
        values = flatten(read_config(bundle, name))
        for part in ("shared", name):
            for key, value in flatten(different.get(part, {})).items():
                if part == name:
                    assert values[key] == value
                elif values.get(key) == value:
                    reached.add(key)
    assert reached == set(flatten(different["shared"]))


def test_build_refuses_unknown_shared_ids(build: ModuleType) -> None:
    with pytest.raises(KeyError, match="no_such_id"):
        build.check_shared({"no_such_id": 1}, [{"num_labels": 3}])


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("a", {"a": 7, "b#c": [1, {"d": 2}], "e": {"f": [1, {"g": 3}]}}),
        ("b#c", {"a": 1, "b#c": 7, "e": {"f": [1, {"g": 3}]}}),
        ("e#f#1#g", {"a": 1, "b#c": [1, {"d": 2}], "e": {"f": [1, {"g": 7}]}}),
        ("e#h", {"a": 1, "b#c": [1, {"d": 2}], "e": {"f": [1, {"g": 3}], "h": 7}}),
    ],
)
def test_put(build: ModuleType, key: str, expected: dict[str, Any]) -> None:
    config: dict[str, Any] = {"a": 1, "b#c": [1, {"d": 2}], "e": {"f": [1, {"g": 3}]}}
    build.put(config, key, 7)
    assert config == expected


def test_pretty_is_json(build: ModuleType) -> None:
    value = {"short": [1, 2], "long": [{"name": "x" * 60}, {"name": "y" * 60}], "empty": {}, "text": "ä"}
    text = build.pretty(value)
    assert json.loads(text) == value
    assert max(map(len, text.splitlines())) <= 120
    assert '    "short": [1, 2],' in text.splitlines()


@pytest.mark.parametrize("name", ["train", "inference"])
def test_what_is_generated(bundle: Path, name: str, read_config: ReadConfig) -> None:
    """A bundle of patients must not quietly train on phantoms where its folder is empty."""
    generated = "ensure_phantom" in json.dumps(read_config(bundle, name))
    assert generated == (bundle.name in ("morphseek_phantom", "morphseek_any"))


def test_files_that_a_bundle_needs(bundle: Path) -> None:
    needed = ["LICENSE", "docs/README.md", "docs/data_license.txt", "models/model.pt", "models/model.json"]
    needed += [f"configs/{name}.json" for name in ("train", "evaluate", "inference", "metadata")]
    needed += [f"configs/multi_gpu_{name}.json" for name in ("train", "evaluate")]
    assert [file for file in needed if not (bundle / file).is_file()] == []


@pytest.mark.parametrize(
    "key", ["backbone", "network_def", "policy", "num_labels", "steps", "amp", "device", "spatial_size", "normalise"]
)
def test_inference_uses_what_training_made(bundle: Path, key: str, read_config: ReadConfig) -> None:
    assert read_config(bundle, "inference")[key] == read_config(bundle, "train")[key]


def test_inference_prepares_images_as_training_does(bundle: Path, read_config: ReadConfig) -> None:
    """But for the check of labels, which need not exist."""
    training = read_config(bundle, "train")["train"]["preprocessing"]["transforms"]
    inference = read_config(bundle, "inference")["preprocessing"]["transforms"]
    for step in (*training, *inference):
        if isinstance(step, dict):
            step.pop("allow_missing_keys", None)
    assert inference == training


def test_references_lead_to_an_id(bundle: Path, read_config: ReadConfig) -> None:
    """Also those in parts that no test happens to run."""
    for names in (["train"], ["train", "evaluate"], ["inference"], ["train", "multi_gpu_train"]):
        merged: dict[str, Any] = {}
        for name in names:
            for key, value in read_config(bundle, name).items():
                first, _, rest = key.partition("#")
                merged[first] = merged[first] | {rest: value} if rest else value
        ids = set(flatten(merged)) | {""}
        ids |= {key[:i] for key in ids for i, letter in enumerate(key) if letter == "#"}
        texts = [value for value in flatten(merged).values() if isinstance(value, str) and value[:1] in "@$%"]
        used = {ref for text in texts for ref in re.findall(r"[@%]([A-Za-z_][\w#]*)", text)}
        assert len(used) > 10
        assert used <= ids


def test_versions(bundle: Path, read_config: ReadConfig) -> None:
    metadata = read_config(bundle, "metadata")
    assert metadata["version"] == morphseek_monai.__version__
    assert metadata["version"] in metadata["changelog"]
