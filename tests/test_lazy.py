"""Public names that are imported when they are asked for; every name that users, configs and pickles rely on."""

from __future__ import annotations

import importlib
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from pydoc import locate
from typing import Any

import pytest

import morphseek_monai
from morphseek_monai.base.lazy import lazy_module
from morphseek_monai.data import PairDataset
from morphseek_monai.export.vendor import named

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = sorted(path.parent.name for path in ROOT.glob("morphseek_monai/*/__init__.py"))
FACADES = ["morphseek_monai", *(f"morphseek_monai.{folder}" for folder in FOLDERS)]
HEAVY = ("torch", "monai", "itk", "ignite", "matplotlib", "scipy", "nibabel", "numpy")


def loaded_after(code: str) -> set[str]:
    """Which of :data:`HEAVY` a fresh Python has loaded after some code."""
    ending = f"\nimport sys\nsys.stdout.write('|' + ' '.join(m for m in {HEAVY!r} if m in sys.modules))"
    environment = {name: value for name, value in os.environ.items() if name != "FORCED_AMP"}
    command = [sys.executable, "-c", code + ending]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("|")[2].split())


def test_packages_are_imported_without_their_libraries() -> None:
    assert loaded_after(f"import {', '.join(FACADES)}") == set()


def test_a_name_brings_what_it_needs_alone() -> None:
    assert loaded_after("from morphseek_monai.data import detect_layout") == set()
    assert loaded_after("from morphseek_monai.networks import VoxelMorphL") == {"torch", "numpy"}
    scans = loaded_after("from morphseek_monai.data.scans.scan import read_scan")
    assert "nibabel" in scans and not scans & {"monai", "itk", "ignite", "matplotlib"}


@pytest.mark.parametrize("name", FACADES)
def test_every_public_name_is_there(name: str) -> None:
    package = importlib.import_module(name)
    public = getattr(package, "__all__", [])
    assert sorted(public) == sorted(set(public)) and set(public) <= set(dir(package))
    for attribute in public:
        value = getattr(package, attribute)
        assert getattr(package, attribute) is value
        assert getattr(value, "__module__", name).startswith("morphseek_monai")


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_public_name_is_that_of_a_module(folder: str) -> None:
    """Python binds a module to its package when it is imported, over whatever has the name."""
    modules = {path.stem for path in (ROOT / "morphseek_monai" / folder).iterdir()}
    public = set(getattr(importlib.import_module(f"morphseek_monai.{folder}"), "__all__", []))
    assert not modules & public


def test_star_import() -> None:
    names: dict[str, Any] = {}
    exec("from morphseek_monai.losses import *", names)
    assert set(importlib.import_module("morphseek_monai.losses").__all__) <= set(names)


def test_other_names_are_missing_as_usual() -> None:
    assert not hasattr(morphseek_monai, "regster")
    with pytest.raises(AttributeError, match="module 'morphseek_monai.losses' has no attribute 'LNCC'"):
        importlib.import_module("morphseek_monai.losses").LNCC  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'LNCC'"):
        exec("from morphseek_monai.losses import LNCC")


CONFIGS = sorted(path for path in ROOT.glob("bundles/*/configs/*.json") if path.name != "metadata.json")


def test_names_in_configs() -> None:
    """As MONAI's resolver finds them, and what the configs' expressions take from the packages they import."""
    assert len(CONFIGS) > 20
    found = set().union(*(named(path.read_text(encoding="utf-8")) for path in CONFIGS))
    assert "morphseek_monai.networks.VoxelMorphL" in found
    assert [name for name in sorted(found) if locate(name) is None] == []


def test_names_that_expressions_take_from_packages() -> None:
    used = set()
    for path in CONFIGS:
        used |= set(re.findall(r"\bms_(\w+)\.(\w+)", path.read_text(encoding="utf-8")))
    assert ("engines", "bfloat16_is_fast") in used
    for package, name in used:
        assert hasattr(importlib.import_module(f"morphseek_monai.{package}"), name), f"ms_{package}.{name}"


def test_pickles_name_the_module_itself() -> None:
    assert b"morphseek_monai.data.pairs.dataset" in pickle.dumps(PairDataset)
    assert pickle.loads(pickle.dumps(PairDataset)) is PairDataset


def test_lazy_module() -> None:
    code = "from morphseek_monai.base.lazy import lazy_module\nnumpy = lazy_module('numpy')"
    assert loaded_after(code) == set() and loaded_after(f"{code}\nnumpy.float32") == {"numpy"}
    with pytest.raises(AttributeError, match="'json' has no attribute 'lods'"):
        lazy_module("json").lods  # noqa: B018
