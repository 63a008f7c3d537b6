"""The reference pages list what there is: public names, configuration ids with their defaults, error messages."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

from morphseek_monai.base.lazy import names_for_type_checkers

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PACKAGE = ROOT / "morphseek_monai"
COMMON = ROOT / "bundles" / "common"
CONFIGS = ("train", "evaluate", "inference")


def sections(page: str) -> dict[str, str]:
    """Text below each second-level heading."""
    _, *parts = re.split(r"^## (.*)$", (DOCS / page).read_text(encoding="utf-8"), flags=re.M)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def rows(text: str) -> list[list[str]]:
    """Cells of the table rows whose first cell is code."""
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_every_facade_has_a_page() -> None:
    """What the page shows is made from the docstrings; tests/docs/test_site.py looks at that."""
    facades = [path.parent.name for path in PACKAGE.glob("*/__init__.py") if "\n__all__" in path.read_text()]
    assert len(facades) > 10
    shown = {path.stem: path.read_text(encoding="utf-8") for path in (DOCS / "api").glob("*.md")}
    missing = [name for name in facades if f"\n::: morphseek_monai.{name}\n" not in shown.get(name, "")]
    assert missing == []
    assert "\n::: morphseek_monai\n" in shown["morphseek_monai"]


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:\n")[1]
    listed = set(re.findall(r"[\w/]+\.(?:md|ipynb)$", navigation, re.M))
    pages = {path.relative_to(DOCS).as_posix() for ending in ("md", "ipynb") for path in DOCS.rglob(f"*.{ending}")}
    assert len(pages) > 40
    assert pages - listed == set()


def test_public_constants_have_docstrings() -> None:
    """A text below the value, without which the page of its facade leaves it out."""
    constants, silent = 0, []
    for facade in PACKAGE.glob("*/__init__.py"):
        for name, module, own in names_for_type_checkers(facade, f"morphseek_monai.{facade.parent.name}"):
            body = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")).body
            for node, following in zip(body, [*body[1:], None]):
                targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
                if any(isinstance(target, ast.Name) and target.id == own for target in targets):
                    constants += 1
                    text = following.value if isinstance(following, ast.Expr) else None
                    if not (isinstance(text, ast.Constant) and isinstance(text.value, str)):
                        silent.append(name)
    assert constants >= 3
    assert silent == []


def test_commands_are_listed_and_shown() -> None:
    from morphseek_monai.apps.main import COMMANDS

    text = (DOCS / "api" / "commands.md").read_text(encoding="utf-8")
    assert [row[0].strip("`").split()[1] for row in rows(text)] == sorted(COMMANDS)
    own = [command.replace("-", "_") for command in COMMANDS]
    assert sorted(re.findall(r"^::: morphseek_monai\.apps\.(\S+)$", text, re.M)) == sorted(f"{x}.{x}" for x in own)


def config(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((COMMON / f"{name}.json").read_text())
    return content


@pytest.mark.parametrize("name", CONFIGS)
def test_configuration_lists_every_id(name: str) -> None:
    listed = [row[0].strip("`") for row in rows(sections("configuration.md")[f"{name}.json"])]
    assert len(listed) == len(set(listed))
    assert set(listed) == set(config(name))


@pytest.mark.parametrize("name", CONFIGS)
def test_configuration_states_the_defaults(name: str) -> None:
    """Tables of settings have three columns: id, default, meaning."""
    content = config(name)
    wrong = {}
    for cells in rows(sections("configuration.md")[f"{name}.json"]):
        if len(cells) == 3:
            key, listed = cells[0].strip("`"), cells[1].strip("`")
            value = content[key]
            default = value if isinstance(value, str) else json.dumps(value)
            if listed != default:
                wrong[key] = f"listed as {listed}, is {default}"
    assert not wrong


def literals() -> str:
    """All string literals of the package; the variable parts of f-strings and their spaces become line breaks."""
    texts = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [str(part.value) if isinstance(part, ast.Constant) else "\n" for part in node.values]
                texts.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(texts)


def test_error_messages_are_those_of_the_code() -> None:
    text = literals()
    second_cells = re.findall(r"^\| [^|]* \|(.*)\|$", (DOCS / "errors.md").read_text(encoding="utf-8"), re.M)
    messages = re.findall(r"`([^`]+)`", "".join(second_cells))
    fragments = [piece.strip(" ;,()") for message in messages for piece in message.split("...")]
    fragments = [piece for piece in fragments if len(piece) > 5]
    assert len(fragments) > 40
    assert [piece for piece in fragments if piece not in text] == []


def test_version_is_the_same_everywhere() -> None:
    from morphseek_monai import __version__

    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\n## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
