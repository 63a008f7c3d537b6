"""What the bundles share stays the same: one set of configs, with other data and other numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import morphseek_monai

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
PHANTOM, BRAIN = BUNDLES / "morphseek_phantom", BUNDLES / "morphseek_brain_mri_oasis"
ReadConfig = Callable[[Path, str], dict[str, Any]]

DATA = {"dataset_dir", "num_labels"}
BACKBONE = {f"network_def#backbone#{name}" for name in ("encoder", "decoder", "extras")}
OBJECTIVE = {f"warmup_loss#{name}" for name in ("reg_weight", "kl_weight")} | {"loss#warmup_weight"}
OBJECTIVE |= {f"warmup_loss#similarity#{name}" for name in ("_target_", "kernel_size")}
LENGTH = {"pairs_per_epoch", "warmup_epochs", "warmup_steps", "epochs", "val_interval"}
GENERATED = {"subjects", "shape"}
DESCRIPTION = {"name", "task", "description", "data_source", "label_classes", "intended_use"}

# every id whose value may differ; all others are equal
DIFFERENT = {
    "train": DATA | BACKBONE | OBJECTIVE | LENGTH | GENERATED | {"train#dataset#data", "validate#dataset#data"},
    "evaluate": set(),
    "inference": DATA | BACKBONE | {"dataset#data"},
    "metadata": DESCRIPTION,
}


def flatten(node: Any, path: str = "") -> dict[str, Any]:
    """Values by their id, ``a#b#0``; lists of numbers are values."""
    if isinstance(node, dict):
        items: Any = node.items()
    elif isinstance(node, list) and any(isinstance(item, dict | str) for item in node):
        items = enumerate(node)
    else:
        return {path: node}
    return {name: value for key, item in items for name, value in flatten(item, f"{path}#{key}".lstrip("#")).items()}


@pytest.mark.parametrize("name", DIFFERENT)
def test_bundles_differ_where_they_may(name: str, read_config: ReadConfig) -> None:
    a, b = (flatten(read_config(bundle, name)) for bundle in (PHANTOM, BRAIN))
    assert len(a) > 10
    assert {key for key in a.keys() | b.keys() if a.get(key) != b.get(key)} <= DIFFERENT[name]


@pytest.mark.parametrize("name", ["train", "inference"])
def test_only_the_phantom_is_generated(name: str, read_config: ReadConfig) -> None:
    phantom, brain = read_config(PHANTOM, name), read_config(BRAIN, name)
    assert set(phantom) - set(brain) == (GENERATED if name == "train" else set())
    assert "ensure_phantom" in json.dumps(phantom)
    assert "ensure_phantom" not in json.dumps(brain)


def test_logging_and_licence_are_the_same() -> None:
    for file in ("configs/logging.conf", "LICENSE"):
        assert (PHANTOM / file).read_bytes() == (BRAIN / file).read_bytes()


def test_files_that_a_bundle_needs(bundle: Path) -> None:
    needed = ["LICENSE", "docs/README.md", "docs/data_license.txt"]
    needed += [f"configs/{name}" for name in ("train.json", "inference.json", "metadata.json", "logging.conf")]
    assert [file for file in needed if not (bundle / file).is_file()] == []


@pytest.mark.parametrize("key", ["network_def", "num_labels", "steps", "amp", "device", "spatial_size"])
def test_inference_uses_what_training_made(bundle: Path, key: str, read_config: ReadConfig) -> None:
    assert read_config(bundle, "inference")[key] == read_config(bundle, "train")[key]


def test_inference_prepares_images_as_training_does(bundle: Path, read_config: ReadConfig) -> None:
    """But for the check of labels, which need not exist."""
    training = read_config(bundle, "train")["train"]["preprocessing"]["transforms"]
    inference = read_config(bundle, "inference")["preprocessing"]["transforms"]
    for step in (*training, *inference):
        step.pop("allow_missing_keys", None)
    assert inference == training


def test_references_lead_to_an_id(bundle: Path, read_config: ReadConfig) -> None:
    """Also those in parts that no test happens to run."""
    for names in (["train"], ["train", "evaluate"], ["inference"]):
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
