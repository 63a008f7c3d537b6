"""docs/glossary.md: every word once, every name in the code."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROWS = re.findall(
    r"^\| ([^|`]+) \| (.+) \| ([^|]*)\|$", (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"), re.M
)


def test_every_word_once() -> None:
    words = [word for words, _, _ in ROWS if words != "word" for word in words.split(", ")]
    assert len(words) > 40
    assert sorted({word for word in words if words.count(word) > 1}) == []


def test_names_are_those_of_the_code() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "morphseek_monai").rglob("*.py"))
    named = re.findall(r"`([\w.]+)`", " ".join(cell for _, _, cell in ROWS))
    assert len(named) > 50
    assert [name for name in named if not re.search(rf"\b{re.escape(name)}\b", source)] == []
