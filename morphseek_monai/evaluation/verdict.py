"""Did it work? Checks with stated limits, made without labels.

A network always answers, also for a mirrored scan, a wrong body part or noise. Each check turns one number into
succeeded, doubtful or failed; the worst one is the verdict. The limits were set on brains and phantoms (figures in
docs/register.md); a bundle may state its own under ``thresholds`` in ``configs/register.json``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

SUCCEEDED, DOUBTFUL, FAILED = "succeeded", "doubtful", "failed"
EXIT_CODES = {SUCCEEDED: 0, DOUBTFUL: 3, FAILED: 1}


class Limits(NamedTuple):
    """What one number must be.

    Attributes:
        good: up to here the check has succeeded.
        bad: from here on it has failed; None where it is never more than doubtful.
        unit: of the number.
        meaning: of the number, in words.
        cure: what to do if it is not good.
    """

    good: float
    bad: float | None
    unit: str
    meaning: str
    cure: str


LIMITS: dict[str, Limits] = {
    "similarity": Limits(
        0.5, 0.25, "",
        "mean squared local correlation in the fixed foreground, by affine and network, before any --refine",
        "look at the report: another anatomy, contrast or artefact; try another --bundle",
    ),
    "gain": Limits(
        0.0, -0.02, "", "similarity after minus before registration",
        "the images were closer before: try --affine off, or another --bundle",
    ),
    "overlap": Limits(
        90.0, 60.0, "%", "fixed foreground that has a counterpart inside the moving image's field of view",
        "part of the anatomy was not scanned: crop the fixed image, or read the rest with care",
    ),
    "header overlap": Limits(
        5.0, None, "%", "the same, as the headers place the images, before alignment",
        "the headers say that the scans show different places: check that they belong together, use --affine auto",
    ),
    "volume": Limits(
        1.0, 2.0, "octaves", "size of the affine alignment's volume change, |log2 det|",
        "check the spacings in the headers, or give --affine FILE",
    ),
    "rotation": Limits(
        60.0, None, "degrees", "angle by which the affine turns the moving image",
        "the headers disagree about the axes, and a body turned by so much may be mirrored too: check them",
    ),
    "folding": Limits(
        0.5, 5.0, "%", "fixed voxels with a non-positive Jacobian determinant",
        "the map is not one-to-one there: see the Jacobian map",
    ),
    "border": Limits(
        5.0, 15.0, "voxels",
        "95th percentile of the displacement of the foreground at the border of the network's grid",
        "anatomy moves across the border: enlarge the field of view, or improve the alignment",
    ),
    "inverse error": Limits(
        1.0, 3.0, "voxels", "95th percentile of the inverse consistency error in the foreground, in network voxels",
        "do not use inverse.h5 where the Jacobian map shows folds",
    ),
    "handedness": Limits(
        0.0, None, "", "similarity of the aligned moving image, minus that of its mirror image",
        "the moving image may be mirrored left to right: check its header",
    ),
}  # fmt: skip


class Check(NamedTuple):
    """One check.

    Attributes:
        name: what was looked at, a key of :data:`LIMITS`.
        value: its number.
        unit: of the number, ``""`` where it has none.
        outcome: ``"succeeded"``, ``"doubtful"`` or ``"failed"``.
        limits: in words, e.g. ``">= 0.5, failed < 0.25"``.
        note: what the number is, and the cure where it is not good.
    """

    name: str
    value: float
    unit: str
    outcome: str
    limits: str
    note: str


def judge(name: str, value: float, thresholds: Mapping[str, tuple[float, float | None]] | None = None) -> Check:
    """Compare one number with its limits.

    Args:
        name: a key of :data:`LIMITS`.
        value: NaN has failed.
        thresholds: ``{name: (good, bad)}`` of a bundle, in place of the ones here.

    Example:
        >>> judge("folding", 1.2).outcome
        'doubtful'
        >>> judge("folding", 1.2, {"folding": (2.0, 10.0)}).limits
        'at most 2 %, failed above 10 %'
    """
    limits = LIMITS[name]
    good, bad = (thresholds or {}).get(name, (limits.good, limits.bad))
    higher = bad is not None and bad < good or bad is None and name in ("header overlap", "handedness")
    sign = 1.0 if higher else -1.0
    if value != value or bad is not None and sign * value < sign * bad:
        outcome = FAILED
    else:
        outcome = SUCCEEDED if sign * value >= sign * good else DOUBTFUL
    unit = f" {limits.unit}" if limits.unit else ""
    words = ("at least", "below") if higher else ("at most", "above")
    text = f"{words[0]} {good:g}{unit}" + ("" if bad is None else f", failed {words[1]} {bad:g}{unit}")
    note = limits.meaning if outcome == SUCCEEDED else f"{limits.meaning}; {limits.cure}"
    return Check(name, value, limits.unit, outcome, text, note)


def verdict(checks: Sequence[Check]) -> str:
    """The worst outcome.

    Example:
        >>> verdict([judge("folding", 0.0), judge("similarity", 0.1)])
        'failed'
    """
    order = (SUCCEEDED, DOUBTFUL, FAILED)
    return max((check.outcome for check in checks), key=order.index)
