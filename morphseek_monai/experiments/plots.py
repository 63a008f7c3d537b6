"""Pictures of learning curves, and of a result against a coordinate."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure

from morphseek_monai.base.records import read_csv

from .plan import PlanError
from .tables import Line, mean_and_spread, read_lines

__all__ = ["plot_coordinate", "plot_curves"]

Points = dict[int, tuple[float, float]]


def plot_curves(*runs: str, out: str, baseline: float | None = None) -> str:
    """Plot validation Dice and folding against iterations; means over the seeds, bands of a standard deviation.

    Args:
        runs: NAME=FILES each, FILES a curves.csv or a pattern for those of several seeds, e.g.
            "GRPO=runs/components/grpo/seed*/eval/curves.csv".
        out: picture to write.
        baseline: Dice (%) before registration, a dotted line.

    Returns:
        last and best means as a Markdown table.

    Raises:
        PlanError: no such file, or none with a validation.
    """
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    dice_axes, njd_axes = figure.subplots(1, 2)
    text = ["| run | seeds | iterations | last Dice (%) | last NJD (%) | best Dice (%) |", "|---|---|---|---|---|---|"]
    for run in runs:
        name, _, pattern = run.rpartition("=")
        seeds = [_validations(Path(path)) for path in sorted(glob.glob(pattern))]
        iterations = sorted(set.intersection(*map(set, seeds))) if seeds else []
        if not iterations:
            raise PlanError(f"{run} names no curves.csv whose runs were validated at a common iteration")
        dice = [[seed[i][0] for seed in seeds] for i in iterations]
        njd = [[seed[i][1] for seed in seeds] for i in iterations]
        _band(dice_axes, iterations, dice, name)
        _band(njd_axes, iterations, njd, name)
        means = list(map(fmean, dice))
        text.append(
            f"| {name} | {len(seeds)} | {iterations[-1]} | {means[-1]:.2f} | {fmean(njd[-1]):.3f} | {max(means):.2f} |"
        )
    if baseline is not None:
        dice_axes.axhline(baseline, color="grey", linestyle=":", label="identity")
    dice_axes.set(xlabel="iterations", ylabel="Dice, validation pairs (%)")
    njd_axes.set(xlabel="iterations", ylabel="non-positive Jacobian (%)")
    _save(figure, dice_axes, out)
    return "\n".join(text)


def _validations(path: Path) -> Points:
    """Dice and NJD (%) by iteration, counted on from one phase to the next."""
    points: Points = {}
    before, phase, last = 0, None, 0
    for row in read_csv(path):
        if row["phase"] != phase:
            before, phase = before + last, row["phase"]
        last = int(row["iteration"])
        if row.get("val_mean_dice"):
            points[before + last] = (100 * float(row["val_mean_dice"]), float(row["val_njd_percent"]))
    return points


def plot_coordinate(csv: str, x: str, out: str, by: str | None = None) -> str:
    """Plot Dice against a coordinate of the rows, e.g. against the number of labelled subjects.

    Args:
        csv: OUT/PLAN.csv.
        x: coordinate, a number; rows without it are left out.
        out: picture to write.
        by: second coordinate, a curve for each of its values; None draws one curve.

    Returns:
        the path of the picture.

    Raises:
        PlanError: no row has the coordinates.
    """
    families: dict[str, list[Line]] = {}
    for line in read_lines(csv):
        if x in line.at and (by is None or by in line.at):
            families.setdefault("" if by is None else str(line.at[by]), []).append(line)
    if not families:
        raise PlanError(f"no row of {csv} is at {x}{f' and {by}' if by else ''}; add it to 'at' in the plan")
    figure = Figure(figsize=(5, 3.4), layout="constrained")
    axes = figure.subplots()
    for name, lines in families.items():
        lines.sort(key=lambda line: float(str(line.at[x])))
        _band(axes, [float(str(line.at[x])) for line in lines], [line.values("dice") for line in lines], name)
    axes.set(xlabel=x, ylabel="Dice (%)")
    _save(figure, axes, out)
    return out


def _band(axes: Any, x: Sequence[float], values: Sequence[Sequence[float]], label: str) -> None:
    """Means with a band of a standard deviation on either side; none where there is one value."""
    summary = [mean_and_spread(v) for v in values]
    (line,) = axes.plot(x, [mean for mean, _ in summary], marker=".", label=label)
    low, high = ([mean + side * spread for mean, spread in summary] for side in (-1, 1))
    axes.fill_between(x, low, high, color=line.get_color(), alpha=0.2, linewidth=0)


def _save(figure: Figure, axes: Any, out: str) -> None:
    if any(axes.get_legend_handles_labels()[1]):
        axes.legend()
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110)
