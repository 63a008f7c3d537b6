"""The reference pages list what there is: public names, configuration ids with their defaults, error messages."""

from __future__ import annotations

import ast
import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

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


@pytest.mark.parametrize(
    "folder", sorted(p.parent.name for p in PACKAGE.glob("*/__init__.py") if p.parent.name != "apps")
)
def test_api_lists_the_public_names(folder: str) -> None:
    module = importlib.import_module(f"morphseek_monai.{folder}")
    listed = [row[0].strip("`") for row in rows(sections("api.md")[f"morphseek_monai.{folder}"])]
    assert listed == sorted(set(listed)), "sort the rows, once each"
    assert listed == sorted(module.__all__)


def test_api_lists_the_programs() -> None:
    from morphseek_monai.apps.main import COMMANDS

    listed = [row[0].strip("`").split()[1] for row in rows(sections("api.md")["Programs"])]
    assert listed == sorted(COMMANDS)


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
