"""The report of ``check-data`` as plain text and as JSON."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np

from morphseek_monai.base.records import plain_json

from .cost import Cost, gibibytes
from .initial_dice import PairDice
from .label_rules import LabelSummary
from .report import ERROR, LEVELS, WARN, Finding, SubjectReport
from .split_rules import PairCount

__all__ = ["Checkup", "aligned", "to_json", "to_text"]

_MOST_ROWS = 20
_MOST_NAMES = 3


class Checkup(NamedTuple):
    """Everything that ``check-data`` found out.

    Attributes:
        title: what was checked.
        findings: worst first.
        subjects: one report per image.
        labels: one summary per label id.
        pairs: how many training pairs there can be.
        validation: number of validation pairs.
        dice: overlap of the validation pairs before registration.
        native_ids: whether ``dice`` is of the ids in the files, not of those a config makes of them.
        cost: of the chosen config, or None.
    """

    title: str
    findings: list[Finding]
    subjects: list[SubjectReport]
    labels: list[LabelSummary]
    pairs: list[PairCount]
    validation: int
    dice: list[PairDice]
    native_ids: bool
    cost: Cost | None

    def count(self, level: str) -> int:
        """Number of findings of a level."""
        return sum(finding.level == level for finding in self.findings)


def aligned(header: Sequence[str], rows: Iterable[Sequence[str]], widths: Sequence[int] = ()) -> str:
    """Lay out a table with left-aligned columns.

    Args:
        header: titles.
        rows: cells.
        widths: most characters of each column, beyond which cells are wrapped; empty (default) never wraps.

    Example:
        >>> print(aligned(["ID", "mL"], [["1", "12"], ["10", "3"]]))
        ID  mL
        1   12
        10  3
    """
    most = list(widths) or [10_000] * len(header)
    wrapped = [
        [textwrap.wrap(cell, limit, break_on_hyphens=False) or [""] for cell, limit in zip(row, most)]
        for row in (header, *rows)
    ]
    columns = [max(len(line) for row in wrapped for line in row[i]) for i in range(len(header))]
    lines = []
    for row in wrapped:
        for k in range(max(map(len, row))):
            cells = (cell[k] if k < len(cell) else "" for cell in row)
            lines.append("  ".join(cell.ljust(width) for cell, width in zip(cells, columns)).rstrip())
    return "\n".join(lines)


def to_text(checkup: Checkup, folder: str) -> str:
    """The report to read, worst first.

    Args:
        checkup: what was found out.
        folder: the data set's folder, which is cut off from paths.
    """
    sections = [checkup.title, _findings(checkup.findings, folder.rstrip("/") + "/")]
    if checkup.subjects:
        sections += [_images(checkup), _pairs(checkup)]
    if checkup.labels:
        sections.append(_labels(checkup))
    if checkup.cost is not None:
        sections.append(_cost(checkup.cost))
    errors, warnings = checkup.count(ERROR), checkup.count(WARN)
    advice = "do not train yet" if errors else "look at the warnings, then train" if warnings else "ready to train"
    counts = f"{_plural(errors, 'error')}, {_plural(warnings, 'warning')}"
    return "\n\n".join([*sections, f"{counts}: {advice}"]) + "\n"


def _findings(findings: Sequence[Finding], folder: str) -> str:
    rows = [
        [f.level, _names(f.where) if f.where else "-", f.what.replace(folder, ""), f.cure.replace(folder, "")]
        for f in findings
    ]
    return aligned(["LEVEL", "IMAGE", "FINDING", "CURE"], rows, [5, 24, 56, 44])


def _names(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    return " ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _images(checkup: Checkup) -> str:
    worst = {name: LEVELS.index(finding.level) for finding in reversed(checkup.findings) for name in finding.where}
    order = sorted(checkup.subjects, key=lambda subject: worst.get(subject.id, len(LEVELS)))
    rows = []
    for subject in order[:_MOST_ROWS]:
        image, label = subject.image, subject.label
        rows.append(
            [
                subject.id,
                "+".join(subject.sides),
                _product(image.shape),
                _product(image.spacing),
                image.axes or "-",
                f"{image.low:g}..{image.high:g}" if not image.error else "-",
                str(len(label.volumes)) if label is not None and not label.error else "-",
            ]
        )
    table = aligned(["IMAGE", "SIDE", "VOXELS", "MM", "AXES", "VALUES", "LABELS"], rows)
    return table + _more(len(order), "images")


def _pairs(checkup: Checkup) -> str:
    rows = [[c.fixed or "any", c.moving or "any", str(c.across), str(c.within)] for c in checkup.pairs]
    table = aligned(["FIXED", "MOVING", "TRAINING PAIRS ACROSS PEOPLE", "WITHIN ONE PERSON"], rows)
    means = [pair.mean for pair in checkup.dice if not math.isnan(pair.mean)]
    dice = [[pair.fixed, pair.moving, f"{pair.mean:.3f}", pair.how] for pair in checkup.dice]
    dice.sort(key=lambda row: row[2])
    text = f"{table}\n\n{_plural(checkup.validation, 'validation pair')}"
    if dice:
        mean = f", mean Dice before registration {np.mean(means):.3f}" if means else ""
        text += f"{mean}\n" + aligned(["FIXED", "MOVING", "DICE", "MEASURED"], dice[:_MOST_ROWS])
        text += _more(len(dice), "pairs")
    return text


def _labels(checkup: Checkup) -> str:
    rows = []
    for label in checkup.labels:
        dice = [pair.dice[label.id - 1] for pair in checkup.dice if checkup.native_ids and label.id <= len(pair.dice)]
        values = [value for value in dice if not math.isnan(value)]
        volumes = label.volumes
        rows.append(
            [
                str(label.id),
                label.name or "-",
                f"{len(label.present)}/{len(label.present) + len(label.absent)}",
                _volume(label.median) if volumes else "-",
                f"{_volume(min(volumes))}..{_volume(max(volumes))}" if volumes else "-",
                f"{np.mean(values):.3f}" if values else "-",
            ]
        )
    return aligned(["LABEL", "NAME", "IN MAPS", "MEDIAN ML", "FROM..TO ML", "DICE BEFORE"], rows)


def _cost(cost: Cost) -> str:
    rows = [
        [phase, f"{cost.seconds[phase]:.2f}", str(count), f"{cost.seconds[phase] * count / 3600:.1f}"]
        for phase, count in cost.iterations.items()
    ]
    how = "measured on random data" if cost.measured else "estimate, scaled from half the size by the voxels"
    title = f"cost at {_product(cost.size)} on {cost.device} ({how}; validation and reading not counted)"
    memory = f"memory {gibibytes(cost.peak)}, prepared images {gibibytes(cost.cache)}"
    available = f", of {gibibytes(cost.memory)} here" if cost.memory else ""
    busy = "\nother programs keep this machine busy now: the times are too long" if cost.busy else ""
    return f"{title}\n{aligned(['PHASE', 'S/ITERATION', 'ITERATIONS', 'HOURS'], rows)}\n{memory}{available}{busy}"


def _product(values: Sequence[float]) -> str:
    return "x".join(f"{value:.3g}" for value in values) or "-"


def _volume(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _plural(count: int, word: str) -> str:
    return f"{count} {word}" + "s" * (count != 1)


def _more(count: int, what: str) -> str:
    return f"\n... and {count - _MOST_ROWS} more {what}: --report FILE.json lists all" if count > _MOST_ROWS else ""


def to_json(checkup: Checkup) -> dict[str, Any]:
    """The report to process; NaN and infinity, which JSON has not, become null.

    Args:
        checkup: what was found out.
    """
    cost = checkup.cost
    content = {
        "title": checkup.title,
        "errors": checkup.count(ERROR),
        "warnings": checkup.count(WARN),
        "findings": [asdict(finding) for finding in checkup.findings],
        "subjects": [
            asdict(subject) | {"volumes_ml": subject.label.volumes if subject.label is not None else {}}
            for subject in checkup.subjects
        ],
        "labels": [label._asdict() | {"median_ml": label.median} for label in checkup.labels],
        "training_pairs": [pairs._asdict() for pairs in checkup.pairs],
        "validation_pairs": checkup.validation,
        "initial_dice": [pair._asdict() | {"mean": pair.mean} for pair in checkup.dice],
        "cost": None if cost is None else cost._asdict() | {"hours": cost.hours},
    }
    plain: dict[str, Any] = plain_json(content)
    return plain
