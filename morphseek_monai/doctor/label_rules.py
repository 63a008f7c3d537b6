"""Ids of label maps: out of range, missing in single subjects, of unlikely size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from .report import ERROR, WARN, Finding, SubjectReport

__all__ = ["LabelSummary", "check_labels", "summarise_labels"]

_FEWEST = 5  # subjects that make a usual volume
_FACTOR = 4.0  # from the median to an unlikely volume ...
_SPREADS = 6.0  # ... and at least so many typical deviations: tumours are of any size


class LabelSummary(NamedTuple):
    """One id over all label maps.

    Attributes:
        id: the id, not 0.
        name: its name, or ``""``.
        present: images that have it.
        absent: images with a label map without it.
        volumes: millilitres in those that have it, in the order of ``present``.
    """

    id: int
    name: str
    present: tuple[str, ...]
    absent: tuple[str, ...]
    volumes: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median volume, mL; NaN where no size is known."""
        return float(np.median(self.volumes)) if self.volumes else float("nan")


def summarise_labels(subjects: Iterable[SubjectReport], names: Mapping[int, str]) -> list[LabelSummary]:
    """Collect every id that occurs or has a name.

    Args:
        subjects: the reports; those without a readable, not empty label map do not count.
        names: name of each id, as far as known.
    """
    maps = {
        subject.id: subject.label for subject in subjects if subject.label is not None and any(subject.label.counts)
    }
    ids = sorted({index for label in maps.values() for index in label.counts} | set(names) - {0})
    summaries = []
    for index in ids:
        if index == 0:
            continue
        present = [name for name, label in maps.items() if index in label.counts]
        volumes = tuple(maps[name].volumes[index] for name in present if maps[name].placed)
        absent = tuple(name for name, label in maps.items() if index not in label.counts)
        summaries.append(LabelSummary(index, names.get(index, ""), tuple(present), absent, volumes))
    return summaries


def check_labels(
    subjects: Sequence[SubjectReport], names: Mapping[int, str], num_labels: int | None
) -> Iterator[Finding]:
    """Findings about ids.

    Args:
        subjects: the reports.
        names: name of each id, as far as known.
        num_labels: number of ids with the background; None does not limit them.
    """
    for subject in subjects:
        wrong = [i for i in subject.label.counts if i < 0 or i >= (num_labels or np.inf)] if subject.label else []
        if wrong:
            limit = "0 and above" if num_labels is None else f"0..{num_labels - 1}"
            shown = ", ".join(map(str, sorted(wrong)[:6])) + (", ..." if len(wrong) > 6 else "")
            yield Finding(
                ERROR,
                "label_ids",
                (subject.id,),
                f"label has id {shown} outside {limit}",
                "map its ids with SelectLabelsd or correct num_labels",
            )
    for summary in summarise_labels(subjects, names):
        title = f"label {summary.id}" + (f" ({summary.name})" if summary.name else "")
        if not summary.present:
            yield Finding(
                WARN, "label_missing", (), f"{title} occurs in no label map", "correct the table of names, or the maps"
            )
        elif summary.absent:
            yield Finding(
                WARN,
                "label_missing",
                summary.absent,
                f"{title} is missing in {len(summary.absent)} of {len(summary.absent) + len(summary.present)} maps",
                "nothing, if it is truly absent: it is left out of that pair's Dice",
            )
        yield from _unlikely(summary, title)


def _unlikely(summary: LabelSummary, title: str) -> Iterator[Finding]:
    if len(summary.volumes) < max(_FEWEST, len(summary.present)):  # too few, or maps of unknown size among them
        return
    logs = np.log(summary.volumes)
    apart = logs - np.median(logs)
    limit = max(np.log(_FACTOR), _SPREADS * float(np.median(np.abs(apart))))
    for name, volume, distance in zip(summary.present, summary.volumes, apart):
        if abs(distance) > limit:
            yield Finding(
                WARN,
                "label_volume",
                (name,),
                f"{title} has {volume:.3g} mL, the median is {summary.median:.3g} mL",
                "look at it: cut off, or another structure's id?",
            )
