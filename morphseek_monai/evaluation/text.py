"""The numbers of ``morphseek evaluate`` as a table, JSON and CSV."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from morphseek_monai.base.records import write_csv, write_json

from .pair import QUANTILES, LabelScore, Landmarks, Regularity

__all__ = ["challenge_table", "pair_table", "write_pair"]

TwoLandmarks = tuple[Landmarks, Landmarks]  # before and after
_COLUMNS = ("dice_before", "dice_after", "hd95_before", "hd95_after")
_CSV = ("metric", "label", "before", "after")


def pair_table(scores: Sequence[LabelScore], landmarks: TwoLandmarks | None, regularity: Regularity) -> str:
    """Lines for people: every label, the mean, landmarks, the field."""
    lines = []
    if scores:
        lines.append(f"{'LABEL':>8}  {'DICE before':>11}  {'after':>7}  {'HD95 mm before':>14}  {'after':>7}")
        rows = [(str(score.label), score[1:]) for score in scores] + [("mean", tuple(_means(scores)))]
        for name, values in rows:
            cells = [_cell(value, 3 if n < 2 else 2) for n, value in enumerate(values)]
            lines.append(f"{name:>8}  {cells[0]:>11}  {cells[1]:>7}  {cells[2]:>14}  {cells[3]:>7}")
        missing = sum(np.isnan(score.dice_after) for score in scores)
        if missing:
            lines.append(f"{missing} of {len(scores)} labels are in one map only and do not count")
    if landmarks is not None:
        for when, result in zip(("before", "after"), landmarks, strict=True):
            quantiles = ", ".join(f"{100 * q:.0f} %: {v:.2f}" for q, v in zip(QUANTILES, result.quantiles, strict=True))
            lines.append(
                f"landmarks {when}: {result.mean:.2f} +- {result.std:.2f} mm ({quantiles}, most: {result.maximum:.2f})"
            )
    lines.append(
        f"field: {regularity.njd_percent:.4g} % folded, SDlogJ {regularity.sdlogj:.4f},"
        f" SDlogJ as in Learn2Reg {regularity.sdlogj_l2r:.4f}"
    )
    return "\n".join(lines)


def write_pair(
    path: str | os.PathLike[str],
    scores: Sequence[LabelScore],
    landmarks: TwoLandmarks | None,
    regularity: Regularity,
) -> None:
    """Write the same, with null or an empty cell where a value does not exist.

    Args:
        path: ``.json``; with any other ending a table ``metric,label,before,after`` of commas is written.
        scores: of the labels.
        landmarks: before and after; None where there are none.
        regularity: of the field.

    Raises:
        DataError: the file cannot be written.
    """
    if os.fspath(path).endswith(".json"):
        write_json(path, _content(scores, landmarks, regularity))
        return
    rows = [
        {name: cell for name, cell in zip(_CSV, row) if not (isinstance(cell, float) and np.isnan(cell))}
        for row in _rows(scores, landmarks, regularity)
    ]
    write_csv(path, rows, _CSV, "\n")


def _content(scores: Sequence[LabelScore], landmarks: TwoLandmarks | None, regularity: Regularity) -> dict[str, Any]:
    content: dict[str, Any] = {"labels": [score._asdict() for score in scores]}
    if scores:
        content["mean"] = dict(zip(_COLUMNS, _means(scores), strict=True))
    if landmarks is not None:
        content["landmarks_mm"] = {
            when: result._asdict() | {"quantiles": dict(zip(map(str, QUANTILES), result.quantiles, strict=True))}
            for when, result in zip(("before", "after"), landmarks, strict=True)
        }
    content["field"] = regularity._asdict()
    return content


def _rows(
    scores: Sequence[LabelScore], landmarks: TwoLandmarks | None, regularity: Regularity
) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for score in scores:
        rows.append(("dice", score.label, score.dice_before, score.dice_after))
        rows.append(("hd95_mm", score.label, score.hd95_before, score.hd95_after))
    if landmarks is not None:
        before, after = landmarks
        rows.append(("tre_mm_mean", "", before.mean, after.mean))
        rows.append(("tre_mm_std", "", before.std, after.std))
        rows += [
            (f"tre_mm_q{100 * q:.0f}", "", b, a)
            for q, b, a in zip(QUANTILES, before.quantiles, after.quantiles, strict=True)
        ]
        rows.append(("tre_mm_max", "", before.maximum, after.maximum))
    return rows + [(name, "", "", value) for name, value in regularity._asdict().items()]


def challenge_table(result: dict[str, Any]) -> str:
    """Lines for people: every pair, then mean, standard deviation and the quantile of the official evaluation.

    Args:
        result: of :func:`~morphseek_monai.evaluation.learn2reg.evaluate_learn2reg`, or of that for LUMIR.
    """
    names = list(result["aggregates"])
    cases = {
        case: [values[name]["mean"] if name in values else np.nan for name in names]
        for case, values in result["cases"].items()
    }
    ends = {end: [result["aggregates"][name][end] for name in names] for end in ("mean", "std", "30")}
    width = max(len(name) for name in (*cases, "PAIR"))
    widths = [max(12, len(name)) for name in names]
    rows = {"PAIR": names} | {case: [_cell(value, 4) for value in values] for case, values in (cases | ends).items()}
    lines = [
        f"{case:<{width}}" + "".join(f"  {cell:>{wide}}" for cell, wide in zip(cells, widths, strict=True))
        for case, cells in rows.items()
    ]
    for case, values in result["cases"].items():
        lost = sum(distance == np.inf for distance in values.get("HD95", {}).get("detailed", ()))
        if lost:
            lines.append(f"{case}: {lost} label{'s are' if lost > 1 else ' is'} lost in warping, so HD95 is infinite")
        if np.isnan(values.get("TRE_lm", {}).get("mean", 0.0)):
            lines.append(f"{case}: a landmark is lost in warping, so TRE_lm and its mean do not exist")
    return "\n".join(lines)


def _means(scores: Sequence[LabelScore]) -> list[float]:
    """Mean of each column over the labels that both maps have; NaN without any."""
    table = np.array([score[1:] for score in scores], dtype=np.float64)
    known = table[~np.isnan(table[:, 1])]
    return known.mean(axis=0).tolist() if len(known) else [np.nan] * len(_COLUMNS)


def _cell(value: float, digits: int) -> str:
    return "-" if np.isnan(value) else f"{value:.{digits}f}"
