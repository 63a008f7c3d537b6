"""Rules of the house that no single module can test: floors, docstrings, size, tidiness."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "morphseek_monai"
MODULES = sorted(PACKAGE.rglob("*.py"))

# top floor first; a module imports from its own floor and from those below
FLOORS = (
    {"apps", "experiments"},
    {"registration"},
    {"engines", "handlers"},
    {"networks", "losses", "metrics", "rewards"},
    {"data", "transforms"},
    {"fields"},
)
MOST_LINES = 350
# written in two parts, so that this file does not break its own rule
MACHINE_PATH = re.compile(r"(?<![\w.~$}])/(?:ho" + r"me|ro" + r"ot|tm" + r"p|Users|wo" + r"rk)/")
HOOKS = {"extra_repr", "state_dict", "load_state_dict"}  # documented where torch and Ignite define them


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported_folders(path: Path) -> set[str]:
    """Folders of the package that a module imports from, absolutely or relatively."""
    own = path.relative_to(PACKAGE).parts
    folders = set()
    for node in ast.walk(tree(path)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ["morphseek_monai", *own[: len(own) - node.level]] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names = [module, *(f"{module}.{alias.name}" for alias in node.names)]
        for name in names:
            parts = name.split(".")
            if parts[0] == "morphseek_monai" and len(parts) > 1 and (PACKAGE / parts[1]).is_dir():
                folders.add(parts[1])
    return folders


def folder_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ""


def test_every_folder_with_code_stands_on_a_floor() -> None:
    folders = {folder_of(path) for path in MODULES} - {""}
    assert folders == set().union(*FLOORS)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_down(path: Path) -> None:
    folder = folder_of(path)
    if not folder:  # the package itself and `python -m morphseek_monai`, above all floors
        return
    floor = next(i for i, folders in enumerate(FLOORS) if folder in folders)
    above = set().union(*FLOORS[:floor])
    assert not imported_folders(path) & above


def test_folders_do_not_import_each_other_in_circles() -> None:
    graph: dict[str, set[str]] = {}
    for path in MODULES:
        folder = folder_of(path)
        graph.setdefault(folder, set()).update(imported_folders(path) - {folder})
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


def test_relative_and_absolute_imports_are_both_seen() -> None:
    assert "fields" in imported_folders(PACKAGE / "transforms" / "save.py")
    assert "networks" in imported_folders(PACKAGE / "engines" / "grpo.py")


def public_definitions(path: Path) -> Iterator[tuple[str, ast.AST]]:
    """The module, its public classes and functions, and the public methods of its public classes."""
    yield "module", tree(path)
    for node in tree(path).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            yield node.name, node
            for method in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(method, ast.FunctionDef) and not method.name.startswith("_") and method.name not in HOOKS:
                    yield f"{node.name}.{method.name}", method


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_everything_public_has_a_docstring(path: Path) -> None:
    missing = [name for name, node in public_definitions(path) if not ast.get_docstring(node)]  # type: ignore[arg-type]
    assert not missing


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_print_and_no_assert(path: Path) -> None:
    found = [
        node.lineno
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Assert)
        or (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print")
    ]
    assert not found


def tracked_files() -> list[Path]:
    """Files under version control or about to be."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs git and a repository: the files of an unpacked archive are not listed anywhere")
    return [ROOT / line for line in listing.splitlines() if (ROOT / line).is_file()]


def test_no_long_python_files() -> None:
    sources = [path for path in tracked_files() if path.suffix == ".py"]
    assert len(sources) > len(MODULES)
    long = {name_of(path): n for path in sources if (n := len(path.read_text().splitlines())) > MOST_LINES}
    assert not long


def test_no_machine_paths() -> None:
    found = []
    for path in tracked_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # weights and pictures
        found += [f"{name_of(path)}: {line.strip()[:80]}" for line in text.splitlines() if MACHINE_PATH.search(line)]
    assert not found


def test_machine_path_pattern() -> None:
    assert MACHINE_PATH.search("see /ho" + "me/jane/data") and MACHINE_PATH.search('"/tm' + 'p/x"')
    assert not MACHINE_PATH.search("docs/work/x, ~/tmp/x, ./home/x, https://host.org/home/")
