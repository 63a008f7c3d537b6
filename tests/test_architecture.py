"""Rules of the house that no single module can test: floors, docstrings, size, tidiness."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from morphseek_monai.apps.main import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "morphseek_monai"
MODULES = sorted(PACKAGE.rglob("*.py"))

# top floor first; a module imports from its own floor and from those below
FLOORS = (
    {"apps", "experiments"},
    {"doctor", "export"},
    {"registration", "evaluation"},
    {"inference", "engines", "handlers"},
    {"networks", "losses", "metrics", "rewards"},
    {"spatial", "data", "transforms"},
    {"fields", "space"},
    {"base"},
)
PEERS = {"networks", "apps"}  # rooms of equals: one architecture, one command a file
MOST_MODULES = 15  # of any other room
MOST_LINES = 350
# written in two parts, so that this file does not break its own rule
MACHINE_PATH = re.compile(r"(?<![\w.~$}])/(?:ho" + r"me|ro" + r"ot|tm" + r"p|Users|wo" + r"rk)/")
HOOKS = {"extra_repr", "state_dict", "load_state_dict"}  # documented where torch and Ignite define them


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported_modules(path: Path) -> set[Path]:
    """Files of the package that a module imports from, absolutely or relatively, for type checkers or not."""
    own = path.relative_to(PACKAGE).parts
    found = set()
    for node in ast.walk(tree(path)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ["morphseek_monai", *own[: len(own) - node.level]] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "morphseek_monai":
                bases = (PACKAGE.joinpath(*parts[1:n]) for n in range(len(parts), 0, -1))
                files = (file for base in bases for file in (base.with_suffix(".py"), base / "__init__.py"))
                found.add(next(file for file in files if file.is_file()))
    return found


def room_of(path: Path) -> str:
    """Folder of a module inside the package, "" for the package itself."""
    return path.parent.relative_to(PACKAGE).as_posix().removeprefix(".")


def floor_of(path: Path) -> int:
    """0 is the top; the package itself and `python -m morphseek_monai` stand above all floors."""
    top = path.relative_to(PACKAGE).parts[0]
    return next((i for i, folders in enumerate(FLOORS) if top in folders), -1)


def arrows_up(modules: list[Path]) -> list[str]:
    """Imports from a floor above, where what is imported is no facade of the package itself."""
    return [
        f"{name_of(path)} -> {name_of(other)}"
        for path in modules
        for other in sorted(imported_modules(path))
        if floor_of(path) >= 0 and floor_of(other) < floor_of(path)
    ]


def graph_of_rooms(modules: list[Path]) -> dict[str, set[str]]:
    """For each room those that its modules import from; a facade, which only re-exports, is no room's way."""
    graph: dict[str, set[str]] = {}
    for path in modules:
        if path.name != "__init__.py":
            rooms = {room_of(other) for other in imported_modules(path)}
            graph.setdefault(room_of(path), set()).update(rooms - {room_of(path)})
    return graph


def test_every_folder_with_code_stands_on_a_floor() -> None:
    folders = {path.relative_to(PACKAGE).parts[0] for path in MODULES if path.parent != PACKAGE}
    assert folders == set().union(*FLOORS)


def test_imports_go_down() -> None:
    assert len(MODULES) > 200 and arrows_up(MODULES) == []


def test_rooms_do_not_import_each_other_in_circles() -> None:
    """Rooms inside ``registration`` and ``data`` too."""
    graph = graph_of_rooms(MODULES)
    assert {"registration", "registration/prepare", "data/scans"} <= set(graph)
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


def test_arrows_and_circles_are_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "morphseek_monai"
    texts = {
        "fields/a.py": "from ..engines.b import x",
        "engines/b.py": "import morphseek_monai.data.scans.c",
        "data/scans/c.py": "from ..pairs import d",
        "data/pairs/d.py": "from morphseek_monai.data.scans.c import y",
    }
    for name, text in texts.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
        (package / name).with_name("__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "data/__init__.py").touch()
    for name, value in (("ROOT", tmp_path), ("PACKAGE", package)):
        monkeypatch.setattr(f"{__name__}.{name}", value)
    modules = sorted(package.rglob("*.py"))
    assert arrows_up(modules) == ["morphseek_monai/fields/a.py -> morphseek_monai/engines/b.py"]
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter(graph_of_rooms(modules)).prepare()


def test_rooms_are_small() -> None:
    rooms = Counter(room_of(path) for path in MODULES if path.name != "__init__.py")
    assert {room: count for room, count in rooms.items() if count > MOST_MODULES and room not in PEERS} == {}


def test_apps_holds_commands_only() -> None:
    modules = {path.stem for path in (PACKAGE / "apps").glob("*.py")}
    assert modules == {"__init__", "main", *(name.replace("-", "_") for name in COMMANDS)}


def test_a_class_name_exists_once() -> None:
    homes: dict[str, list[str]] = {}
    for path in MODULES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(name_of(path))
    assert len(homes) > 100
    assert {name: places for name, places in homes.items() if len(places) > 1} == {}


def test_no_number_as_an_index_in_a_published_override() -> None:
    """A place in a list is no name: it moves as soon as somebody adds a transform."""
    texts = {path: path.read_text(encoding="utf-8") for path in tracked_files() if path.suffix in (".json", ".md")}
    records = {"CHANGELOG", "tools"}  # what was, and what was run
    texts = {path: text for path, text in texts.items() if path.stem not in records and "results" not in path.parts}
    assert len(texts) > 60
    found = [f"{name_of(p)}: {i}" for p, text in texts.items() for i in re.findall(r"[a-z_]+(?:#[a-z_]+)*#\d+\b", text)]
    assert found == []


def public_definitions(path: Path) -> Iterator[tuple[str, ast.AST]]:
    """The module, its public classes and functions, and the public methods of its public classes."""
    yield "module", tree(path)
    for node in tree(path).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            yield node.name, node
            for method in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(method, ast.FunctionDef) and not method.name.startswith("_") and method.name not in HOOKS:
                    yield f"{node.name}.{method.name}", method


def test_everything_public_has_a_docstring() -> None:
    named = [(path, name, node) for path in MODULES for name, node in public_definitions(path)]
    assert len(named) > 500
    assert [f"{name_of(path)}: {name}" for path, name, node in named if not ast.get_docstring(node)] == []  # type: ignore[arg-type]


def test_no_print_and_no_assert() -> None:
    found = [
        f"{name_of(path)}:{node.lineno}"
        for path in MODULES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Assert)
        or (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print")
    ]
    assert found == []


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
