from __future__ import annotations

import ast
import errno
import json
import logging
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from morphseek_monai import __version__
from morphseek_monai.base.lazy import names_for_type_checkers
from morphseek_monai.data import DataError
from morphseek_monai.export import standalone
from morphseek_monai.export.standalone import find_bundle, write_standalone
from morphseek_monai.export.vendor import ROOT, rewrite

BUNDLES = ROOT.parent / "bundles"
NAMES = sorted(path.parent.parent.name for path in BUNDLES.glob("*/configs/metadata.json"))
PHANTOM = BUNDLES / "morphseek_phantom"


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module", params=NAMES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Each bundle of the repository and its export."""
    source = find_bundle(str(request.param))
    return source, write_standalone(source, tmp_path_factory.mktemp("export"))


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A copy of the phantom bundle to change."""
    copy = tmp_path / "mine" / "morphseek_phantom"
    ignore = shutil.ignore_patterns("data", "eval", "checkpoint*")
    return Path(shutil.copytree(PHANTOM, copy, ignore=ignore))


def test_find_by_path_and_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BUNDLES / "morphseek_phantom")
    assert find_bundle("morphseek_phantom") == find_bundle(".") == PHANTOM
    with pytest.raises(DataError, match=r"nothing is no bundle; give a folder that holds .*morphseek_phantom"):
        find_bundle("nothing")
    with pytest.raises(DataError, match="common is no bundle"):
        find_bundle("common")


def test_files(pair: tuple[Path, Path]) -> None:
    source, export = pair
    assert export.name == source.name
    code = {name for name in files(export) if name.startswith("scripts/")}
    assert files(export) - code <= files(source)
    assert {"LICENSE", "docs/README.md", "configs/metadata.json", "configs/logging.conf"} <= files(export)
    assert files(export / "configs") == files(source / "configs")
    assert {"scripts/__init__.py", "scripts/networks/morphseek_net.py"} <= code
    assert not [name for name in code if "apps" in name or not name.endswith(".py")]


def test_code_and_configs_are_the_same_but_for_the_name(pair: tuple[Path, Path]) -> None:
    source, export = pair
    for path in (export / "scripts").rglob("*.py"):
        original = ROOT / path.relative_to(export / "scripts")
        if path == export / "scripts/__init__.py":  # the package's own offers what a bundle lacks
            assert path.read_text() == '"""Code of this bundle."""\n'
        elif original.name == "__init__.py" and "lazy_names" in original.read_text():
            # the names that are used, imported at once
            package = ".".join(("morphseek_monai", *original.parent.relative_to(ROOT).parts))
            known = {(name, rewrite(f"{home}.")[:-1]) for name, home, _ in names_for_type_checkers(original, package)}
            nodes = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ImportFrom)]
            assert {(alias.asname or alias.name, node.module) for node in nodes for alias in node.names} <= known
        else:
            assert path.read_text() == rewrite(original.read_text()), path
    for path in (export / "configs").glob("*.json"):
        if path.name != "metadata.json":
            assert path.read_text() == rewrite((source / "configs" / path.name).read_text())
    for name in {"LICENSE", "configs/logging.conf", "models/model.pt", "models/model.json"} & files(source):
        assert (export / name).read_bytes() == (source / name).read_bytes()


def test_no_file_needs_the_package(pair: tuple[Path, Path]) -> None:
    """Its name is left where it tells the origin: documentation, the weights' record, the key of its version."""
    _, export = pair
    texts = [path for path in export.rglob("*") if path.suffix in {".py", ".json", ".yaml", ".conf", ".md", ".txt"}]
    found = set()
    for path in texts:
        name = path.relative_to(export).as_posix()
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if "morphseek_monai" in line]
        if name == "scripts/handlers/run_record.py":
            lines = [line for line in lines if '"morphseek_monai": __version__' not in line]
        assert not [line for line in lines if "morphseek_monai." in line and name != "models/model.json"]
        found |= {name} if lines else set()
    assert found <= {"docs/README.md", "docs/data_license.txt", "models/model.json"}


def test_names_in_configs_and_code_lead_to_files(pair: tuple[Path, Path]) -> None:
    _, export = pair
    modules = {name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in files(export)}
    texts = [path.read_text() for path in (export / "configs").glob("*.json")]
    texts += [path.read_text() for path in (export / "scripts").rglob("*.py")]
    used = {name for text in texts for name in re.findall(r"(?:from|import) (scripts[\w.]*)", text)}
    used |= {name for text in texts for name in re.findall(r"\"(scripts(?:\.[a-z]\w*)+)\.[A-Z]", text)}
    assert len(used) > 10
    assert used <= modules


def test_metadata(pair: tuple[Path, Path]) -> None:
    source, export = pair
    old, new = (json.loads((path / "configs" / "metadata.json").read_text()) for path in pair)
    assert old["required_packages_version"].items() <= new["required_packages_version"].items()
    assert {"itk", "nibabel", "pytorch-ignite", "fire"} <= set(new["required_packages_version"])
    assert "morphseek_monai" not in new["required_packages_version"]
    del old["required_packages_version"], new["required_packages_version"]
    assert new == json.loads(rewrite(json.dumps(old)))


def test_readme_says_that_nothing_else_is_needed(pair: tuple[Path, Path]) -> None:
    source, export = pair
    readme = (export / "docs" / "README.md").read_text()
    original = (source / "docs" / "README.md").read_text()
    assert readme.startswith(original.partition("\n")[0] + "\n\n> Self-contained: `scripts/`")
    assert f"morphseek_monai {__version__}" in readme
    assert readme.endswith(rewrite(original.partition("\n")[2]))
    assert not re.search(r"pip install[^\n]*(morphseek| -e )", readme)
    links = re.findall(r"\]\(([^)#\s]+)", readme)
    assert [link for link in links if "://" not in link and not (export / "docs" / link).exists()] == []


def test_every_config_is_rewritten(bundle: Path, tmp_path: Path) -> None:
    """Overlays in either language; what they alone name comes along."""
    (bundle / "configs" / "mind.yaml").write_text("loss: {_target_: morphseek_monai.losses.MINDSSCLoss}\n")
    (bundle / "configs" / "itk.json").write_text('{"imports": ["$import morphseek_monai.spatial.displacement_file"]}')
    export = write_standalone(bundle, tmp_path)
    assert (export / "configs" / "mind.yaml").read_text() == "loss: {_target_: scripts.losses.MINDSSCLoss}\n"
    assert (export / "configs" / "itk.json").read_text() == '{"imports": ["$import scripts.spatial.displacement_file"]}'
    assert {"scripts/losses/mind.py", "scripts/spatial/displacement_file.py"} <= files(export)


def test_only_what_is_named_comes_along(bundle: Path, tmp_path: Path) -> None:
    for name in ("train.json", "evaluate.json", "inference.json", "metadata.json"):
        (bundle / "configs" / name).write_text('{"loss": {"_target_": "morphseek_monai.fields.warp"}}')
    for path in (bundle / "configs").glob("*_*.json"):
        path.unlink()
    code = {name for name in files(write_standalone(bundle, tmp_path)) if name.startswith("scripts/")}
    assert "scripts/fields/warping.py" in code
    assert not [name for name in code if name.startswith(("scripts/data", "scripts/networks", "scripts/engines"))]


def test_what_running_leaves_is_not_copied(bundle: Path, tmp_path: Path) -> None:
    left = ["data/a.nii.gz", "eval/curves.csv", "models/checkpoint_grpo.pt", "models/model.ts", "docs/.cache"]
    for name in [*left, "__pycache__/x.pyc", "mlruns.db"]:
        (bundle / name).parent.mkdir(exist_ok=True)
        (bundle / name).write_text("x")
    kept = files(PHANTOM) & files(bundle)
    export = write_standalone(bundle, tmp_path)
    assert {name for name in files(export) if not name.startswith("scripts/")} == kept


@pytest.mark.parametrize("name", ["networks.VoxelMorphXXL", "netwroks.VoxelMorph"])
def test_a_name_that_does_not_exist(bundle: Path, tmp_path: Path, name: str) -> None:
    (bundle / "configs" / "typo.json").write_text(f'{{"_target_": "morphseek_monai.{name}"}}')
    with pytest.raises(DataError, match=rf"typo.json names morphseek_monai.{name}, which morphseek_monai .* lacks"):
        write_standalone(bundle, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_what_is_there_is_kept_unless_told(tmp_path: Path) -> None:
    old = write_standalone(PHANTOM, tmp_path) / "eval"
    old.mkdir()
    with pytest.raises(DataError, match="morphseek_phantom exists; give another --out, or --overwrite True"):
        write_standalone(PHANTOM, tmp_path)
    assert old.exists()
    write_standalone(PHANTOM, tmp_path, overwrite=True)
    assert not old.exists()


def test_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "morphseek_phantom").mkdir()
    assert "LICENSE" in files(write_standalone(PHANTOM, tmp_path))


@pytest.mark.parametrize("overwrite", [False, True])
def test_foreign_folders_and_the_bundle_itself_are_safe(bundle: Path, tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "out" / "morphseek_phantom").mkdir(parents=True)
    (tmp_path / "out" / "morphseek_phantom" / "thesis.txt").write_text("x")
    with pytest.raises(DataError, match="exists and is no bundle; give another --out"):
        write_standalone(bundle, tmp_path / "out", overwrite)
    for out in (bundle.parent, bundle, bundle / "docs"):
        with pytest.raises(DataError, match="is the bundle itself; give another --out"):
            write_standalone(bundle, out, overwrite)
    assert (tmp_path / "out" / "morphseek_phantom" / "thesis.txt").exists()
    assert files(bundle) >= {"LICENSE", "configs/train.json"}


def test_an_export_is_not_exported_again(tmp_path: Path) -> None:
    export = write_standalone(PHANTOM, tmp_path)
    with pytest.raises(DataError, match="has a folder scripts already"):
        write_standalone(export, tmp_path / "again")


def test_failure_leaves_the_old_export_and_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = files(write_standalone(PHANTOM, tmp_path))
    monkeypatch.setattr(standalone, "vendor", full)
    with pytest.raises(DataError, match=r"cannot be written \(No space left on device\); give a writable folder"):
        write_standalone(PHANTOM, tmp_path, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["morphseek_phantom"]
    assert files(tmp_path / "morphseek_phantom") == before


def test_large_weights_are_copied_with_a_warning(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(standalone, "LARGE", 10)
    shutil.copyfile(bundle / "models" / "model.pt", bundle / "models" / "model.json")
    with caplog.at_level(logging.WARNING):
        assert "models/model.pt" in files(write_standalone(bundle, tmp_path / "a"))
    assert "models/model.pt has 0 MB; the Model Zoo takes 25" in caplog.text
    caplog.clear()
    (bundle / "large_files.yml").write_text("large_files:\n  - path: models/model.pt\n    url: https://example.org/m\n")
    with caplog.at_level(logging.WARNING):
        assert "large_files.yml" in files(write_standalone(bundle, tmp_path / "b"))
    assert "models/model.pt has" not in caplog.text and "models/model.json has" in caplog.text
