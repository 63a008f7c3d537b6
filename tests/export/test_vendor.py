from __future__ import annotations

import ast
import importlib
from importlib.metadata import version
from pathlib import Path

import pytest

from morphseek_monai.export import vendor as module
from morphseek_monai.export.vendor import ROOT, Closure, closure, named, required_packages, rewrite, vendor


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from morphseek_monai.fields import warp", "from scripts.fields import warp"),
        ("from morphseek_monai import fields", "from scripts import fields"),
        ("import morphseek_monai.fields as f", "import scripts.fields as f"),
        ("import morphseek_monai", "import scripts"),
        ("$morphseek_monai.data.x(@a) + morphseek_monai.data.y()", "$scripts.data.x(@a) + scripts.data.y()"),
        (":class:`~morphseek_monai.losses.LNCCLoss`", ":class:`~scripts.losses.LNCCLoss`"),
    ],
)
def test_rewrite_changes_module_paths(text: str, expected: str) -> None:
    assert rewrite(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "the version of morphseek_monai. Then",
        '{"morphseek_monai": "0.1.0"}',
        "https://example.org/morphseek_monai.html",
        "https://morphseek-monai.org/morphseek_monai/fields",
        "my_morphseek_monai.fields",
        "code from morphseek_monai 0.1.0",
    ],
)
def test_rewrite_keeps_the_name_of_the_project(text: str) -> None:
    assert rewrite(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"_target_": "morphseek_monai.networks.VoxelMorphL"', {"networks.VoxelMorphL"}),
        ('"$import morphseek_monai.data as d", "$@x + morphseek_monai.rewards.A()"', {"data", "rewards.A"}),
        ('"$import morphseek_monai.data as d", "$d.a(@x) + d.b.c + ad.e"', {"data.a", "data.b"}),
        ('"$from morphseek_monai.data import a as b, c", "d, e"', {"data.a", "data.c"}),
        ('"$from morphseek_monai import fields"', {"fields"}),
        ("name: morphseek_monai, of morphseek_monai.", set()),
    ],
)
def test_named(text: str, expected: set[str]) -> None:
    assert named(text) == {f"morphseek_monai.{name}" for name in expected}


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_closure_is_what_a_name_needs() -> None:
    """Of the packages on the way, their heads alone."""
    found = closure(["morphseek_monai.fields.warp"])
    fields = {f"morphseek_monai.fields{name}" for name in ("", ".arguments", ".axes", ".warping")}
    assert set(found.modules) == fields | {"morphseek_monai"}
    assert found.public == {"morphseek_monai.fields": {"warp"}}


def test_closure_of_a_package_is_all_its_names() -> None:
    found = closure(["morphseek_monai.rewards"])
    assert found.public["morphseek_monai.rewards"] == set(importlib.import_module("morphseek_monai.rewards").__all__)
    assert {dotted(path) for path in (ROOT / "rewards").glob("*.py")} <= set(found.modules)


def test_closure_follows_absolute_and_relative_imports() -> None:
    modules = closure(["morphseek_monai.rewards.DiceGain"]).modules
    assert {"morphseek_monai.metrics.dice", "morphseek_monai.fields.warping"} <= set(modules)
    assert not [name for name in modules if name.startswith(("morphseek_monai.engines", "morphseek_monai.apps"))]


def test_code_for_bundles_imports_at_the_top_only() -> None:
    """MONAI Label takes ``scripts`` out of ``sys.modules`` between its calls; a later import would not find it."""
    folders = [f"morphseek_monai.{name}" for name in ("data", "engines", "handlers", "losses", "metrics", "networks")]
    late = []
    for name in closure(set(folders)).modules:
        path = ROOT.joinpath(*name.split(".")[1:])
        source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        for function in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef):
                for node in ast.walk(function):
                    own = isinstance(node, ast.ImportFrom) and (node.level or "morphseek_monai" in str(node.module))
                    own |= isinstance(node, ast.Import) and "morphseek_monai" in node.names[0].name
                    late += [f"{name}:{node.lineno}"] if own else []
    assert late == []


@pytest.mark.parametrize("package", sorted(path.parent.name for path in ROOT.glob("*/__init__.py")))
def test_copies_of_packages_import_their_names_at_once(package: str, tmp_path: Path) -> None:
    name = f"morphseek_monai.{package}"
    vendor(closure([name]), tmp_path)
    text = (tmp_path / package / "__init__.py").read_text()
    assert "lazy_names" not in text and "TYPE_CHECKING" not in text
    imported = {
        alias.asname or alias.name
        for node in ast.parse(text).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imported - {"annotations"} == set(getattr(importlib.import_module(name), "__all__", ()))


def test_vendor_keeps_folders_and_changes_names_only(tmp_path: Path) -> None:
    found = Closure(["morphseek_monai", "morphseek_monai.rewards", "morphseek_monai.rewards.dice_gain"], {})
    vendor(found, tmp_path / "scripts")
    written = {path.relative_to(tmp_path).as_posix(): path for path in tmp_path.rglob("*.py")}
    assert set(written) == {"scripts/__init__.py", "scripts/rewards/__init__.py", "scripts/rewards/dice_gain.py"}
    lines = written["scripts/rewards/dice_gain.py"].read_text().splitlines()
    original = (ROOT / "rewards" / "dice_gain.py").read_text().splitlines()
    changed = [(old, new) for old, new in zip(original, lines, strict=True) if old != new]
    assert ("from morphseek_monai.fields import warp_labels", "from scripts.fields import warp_labels") in changed
    assert all(new == old.replace("morphseek_monai.", "scripts.") for old, new in changed)


def test_required_packages_keeps_what_is_listed_and_adds_what_is_imported() -> None:
    modules = closure(["morphseek_monai.handlers", "morphseek_monai.transforms", "morphseek_monai.data"]).modules
    required = required_packages(modules, {"fire": "0.7.0", "nibabel": "5.2.1", "morphseek_monai": "0.1.0"})
    assert (required.pop("fire"), required.pop("nibabel")) == ("0.7.0", "5.2.1")
    assert {"itk", "pytorch-ignite", "matplotlib"} <= set(required)  # by the names PyPI knows
    assert not set(required) & {"monai", "torch", "numpy", "morphseek_monai", "ignite", "itk-core", "json", "os"}
    assert all(pinned == version(name) for name, pinned in required.items())


def test_required_packages_states_versions_that_pypi_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "version", lambda name: "1.2.3+cpu")
    assert required_packages(["morphseek_monai.spatial.displacement_file"], {}) == {"itk": "1.2.3"}


def test_required_packages_leaves_out_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise module.PackageNotFoundError(name)

    monkeypatch.setattr(module, "version", missing)
    assert required_packages(["morphseek_monai.spatial.displacement_file"], {}) == {}
