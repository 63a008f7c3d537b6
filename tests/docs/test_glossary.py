"""docs/glossary.md: every word once, every name in the code, and no name in a sense that was given up."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "morphseek_monai"
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| ([^|`]+) \| (.+) \| ([^|]*)\|$", GLOSSARY, re.M)
SECOND = re.findall(r"^\| (`.+) \| (.+) \| ([^|]*)\|$", GLOSSARY, re.M)


class GivenUp(NamedTuple):
    """Names, as a regular expression of the whole, that no file of these folders may bind."""

    names: str
    folders: str
    instead: str


GIVEN_UP = [
    GivenUp("_?stages?", "data|doctor|engines|evaluation|inference|registration/memory|spatial", "peak, part"),
    GivenUp("_?Search|search", "inference|registration/(memory|models|prepare|record)", "InferenceOptions, options"),
    GivenUp("_?Models?|MODELS|models", "registration/alignment", "TransformModel"),
    GivenUp("_?similarity|scores?", "registration/alignment", "mutual_information, correlation"),
    GivenUp("checks", "data|fields", "requirements, cleaning, arguments; a check has limits"),
    GivenUp("native", "data|doctor", "stored: a file's content"),
    GivenUp("_?steps?", "spatial/(point_map|transform|coverage|compose|files|formats/(base|parts|x5))", "maps"),
    GivenUp("_?steps?", "registration/alignment/(lattice_search|reading|patch_.+)", "spacing, strides, offsets"),
    GivenUp(r"\w*tissue\w*", "evaluation|inference|registration", "foreground"),
    GivenUp(r"\w*[vV]iew\w*", "registration/(report|shown|result)", "content: what a report shows"),
    GivenUp("_?sample|_?SAMPLE", "data|registration|spatial", "interpolate; a sample is drawn from the policy"),
    GivenUp("Pair", "apps|data|doctor|evaluation|inference|registration", "SubjectPair, EntryPair"),
    GivenUp("_?Verdict", "apps", "VerdictExit"),
    GivenUp("verdict", "doctor", "advice; a verdict is of checks"),
    GivenUp("refined?", "space|spatial", "subdivided, finer; refinement is the network's"),
    GivenUp("SUBJECTS?", "apps|registration", "ROLES: fixed and moving are no subjects"),
    GivenUp("_?start", "handlers|engines/evaluator|registration/(batch|register)", "began: a time"),
]


@cache
def bound_names(source: str) -> set[str]:
    """What a module defines or assigns: classes, functions, parameters, variables, attributes."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.arg(arg=name):
                found.add(name)
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                found.add(name)
    return found


def misused(rule: GivenUp, path: str, source: str) -> Iterator[str]:
    """Names of a file, relative to the package, in the sense that a rule gave up; its own name is one too."""
    if re.match(rf"({rule.folders})(?![a-z_])", path):
        names = bound_names(source) | {Path(path).stem}
        yield from (f"{path}: {name}" for name in sorted(names) if re.fullmatch(rule.names, name))


def test_every_word_once() -> None:
    words = [word for words, _, _ in ROWS if words != "word" for word in words.split(", ")]
    assert len(words) > 40
    assert sorted({word for word in words if words.count(word) > 1}) == []


def test_names_are_those_of_the_code() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    named = re.findall(r"`([\w.]+)`", " ".join(cell for _, _, cell in ROWS + SECOND))
    assert len(named) > 60
    assert [name for name in named if not re.search(rf"\b{re.escape(name)}\b", source)] == []


@pytest.mark.parametrize("rule", GIVEN_UP, ids=lambda rule: f"{rule.names} in {rule.folders}")
def test_no_name_in_a_sense_that_was_given_up(rule: GivenUp) -> None:
    files = {path.relative_to(PACKAGE).as_posix(): path for path in PACKAGE.rglob("*.py")}
    assert any(re.match(rf"({rule.folders})(?![a-z_])", path) for path in files), "the rule's folders are gone"
    found = [line for path, file in files.items() for line in misused(rule, path, file.read_text(encoding="utf-8"))]
    assert found == [], f"say {rule.instead}"


def test_a_misused_name_is_found_wherever_it_is_bound() -> None:
    rule = GivenUp("_?steps?", "spatial/compose|fields", "maps")
    source = "class _Steps: pass\ndef step(a, *, steps): self.step = 1\nfor _step in b: c = step.steps"
    assert [line.split(": ")[1] for line in misused(rule, "spatial/compose.py", source)] == ["_step", "step", "steps"]
    assert list(misused(rule, "spatial/composed.py", source)) == []
    assert list(misused(rule, "fields/step.py", "")) == ["fields/step.py: step"]
    assert list(misused(rule, "engines/step.py", source)) == []
