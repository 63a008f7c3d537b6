"""Markdown tables from the CSV file of a plan."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from morphseek_monai.base.records import read_csv

from .plan import PlanError

__all__ = ["Line", "grid", "mean_and_spread", "read_lines", "table"]


@dataclass(frozen=True)
class Line:
    """A row of a plan with the results of its seeds.

    Args:
        name: name of the row.
        label: what to call it.
        at: its coordinates.
        seeds: columns of the CSV file by seed, as numbers and in the table's units: Dice in percent.
    """

    name: str
    label: str
    at: Mapping[str, object]
    seeds: Mapping[int, Mapping[str, float]]

    def values(self, column: str) -> list[float]:
        """One column, a value per seed."""
        return [result[column] for result in self.seeds.values()]


# heading, column, decimals
COLUMNS = (
    ("Dice (%)", "dice", 2),
    ("NJD (%)", "njd_percent", 3),
    ("HD95 (voxels)", "hd95_voxels", 2),
    ("SDlogJ", "sdlogj", 3),
    ("s / iteration", "seconds_per_iteration", 2),
)


def read_lines(path: str | Path) -> list[Line]:
    """Read the CSV file of a plan.

    Args:
        path: ``OUT/PLAN.csv``.

    Returns:
        rows in the order of the plan, each with its seeds in ascending order.

    Raises:
        PlanError: there is no such file, or nothing in it.
    """
    entries = read_csv(Path(path))
    if not entries:
        raise PlanError(f"{path} has no finished run; carry out a plan first")
    entries.sort(key=lambda entry: (int(entry["order"]), entry["row"], int(entry["seed"])))
    lines = []
    for name in dict.fromkeys(entry["row"] for entry in entries):
        own = [entry for entry in entries if entry["row"] == name]
        seeds = {int(entry["seed"]): _numbers(entry) for entry in own}
        lines.append(Line(name, own[-1]["label"], json.loads(own[-1]["at"]), seeds))
    return lines


def _numbers(entry: Mapping[str, str]) -> dict[str, float]:
    seconds = float(entry["train_seconds"]) / max(int(entry["iterations"]), 1)
    numbers = {column: float(entry[column]) for _, column, _ in COLUMNS[:-1]}
    return {**numbers, "dice": 100 * numbers["dice"], "seconds_per_iteration": seconds}


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation, the latter NaN of fewer than two values.

    Example:
        >>> mean_and_spread([1.0, 2.0, 3.0])
        (2.0, 1.0)
    """
    return fmean(values), stdev(values) if len(values) > 1 else float("nan")


def table(csv: str, against: str | None = None, out: str | None = None) -> str:
    """Tabulate a plan's results, a line per row: mean and standard deviation over the seeds.

    Args:
        csv: OUT/PLAN.csv.
        against: name of a row; adds what the others gain over it, as mean and standard deviation of the difference
            within a seed.
        out: Markdown file to write too.

    Returns:
        the table in Markdown.

    Raises:
        PlanError: no such file or row.
    """
    lines = read_lines(csv)
    reference = None if against is None else next((line for line in lines if line.name == str(against)), None)
    if against is not None and reference is None:
        raise PlanError(f"--against must be one of {','.join(line.name for line in lines)}, got {against}")
    heads = ["row", "seeds", *(head for head, _, _ in COLUMNS)]
    heads += [f"{head} against {reference.label}" for head, _, _ in COLUMNS[:2]] if reference else []
    body = []
    for line in lines:
        cells = [_cell(line.values(column), decimals) for _, column, decimals in COLUMNS]
        if reference:
            cells += [_difference(line, reference, column, decimals) for _, column, decimals in COLUMNS[:2]]
        body.append([line.label, str(len(line.seeds)), *cells])
    return _markdown(heads, body, out)


def grid(csv: str, rows: str, columns: str, out: str | None = None) -> str:
    """Tabulate Dice / NJD, both in percent and means over the seeds, over two coordinates.

    Args:
        csv: OUT/PLAN.csv.
        rows: coordinate downwards, e.g. J.
        columns: coordinate to the right, e.g. T.
        out: Markdown file to write too.

    Returns:
        the table in Markdown; rows of the plan that lack a coordinate are left out.

    Raises:
        PlanError: no row has the coordinates, or two have the same.
    """
    cells: dict[tuple[object, object], Line] = {}
    for line in read_lines(csv):
        if rows in line.at and columns in line.at:
            place = (line.at[rows], line.at[columns])
            if place in cells:
                raise PlanError(f"rows {cells[place].name} and {line.name} are both at {place}; correct their 'at'")
            cells[place] = line
    if not cells:
        raise PlanError(f"no row of {csv} is at {rows} and {columns}; add them to 'at' in the plan")
    down, right = (sorted({place[i] for place in cells}, key=_numbers_first) for i in (0, 1))
    body = [[str(d), *(_dice_and_njd(cells.get((d, r))) for r in right)] for d in down]
    return _markdown([f"{rows} \\ {columns}", *map(str, right)], body, out)


def _numbers_first(value: object) -> tuple[bool, float, str]:
    number = isinstance(value, int | float)
    return not number, float(value) if isinstance(value, int | float) else 0.0, str(value)


def _dice_and_njd(line: Line | None) -> str:
    return "-" if line is None else f"{fmean(line.values('dice')):.2f} / {fmean(line.values('njd_percent')):.3f}"


def _cell(values: Sequence[float], decimals: int, sign: str = "") -> str:
    if not values:
        return "-"
    mean, spread = mean_and_spread(values)
    return f"{mean:{sign}.{decimals}f}" + (f" ± {spread:.{decimals}f}" if len(values) > 1 else "")


def _difference(line: Line, reference: Line, column: str, decimals: int) -> str:
    """Paired by seed, which takes out what a seed does to both."""
    common = [seed for seed in line.seeds if seed in reference.seeds and line is not reference]
    return _cell([line.seeds[seed][column] - reference.seeds[seed][column] for seed in common], decimals, "+")


def _markdown(heads: Sequence[str], body: Sequence[Sequence[str]], out: str | None) -> str:
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *body))
    if out is not None:
        Path(out).write_text(text + "\n", encoding="utf-8")
    return text
