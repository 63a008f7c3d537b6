"""The tables and the figure of docs/benchmarks/real.md, from the rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from .rows import Row

COLUMNS = {
    "Dice (%)": ("dice", 1),
    "inner (%)": ("inner_dice", 1),
    "NJD (%)": ("njd", 3),
    "HD95": ("hd95", 2),
    "CPU s": ("cpu_s", 1),
    "wall s": ("wall_s", 1),
    "MiB": ("memory_mib", 0),
}
START = "headers"  # takes no time: a line in the figure


def names_of(rows: Sequence[Row], field: str) -> list[str]:
    """Values of a column, each once, in the order of their first row."""
    return list(dict.fromkeys(getattr(row, field) for row in rows))


def report(rows: Sequence[Row]) -> str:
    """A table a set, the errors and the settings, as Markdown.

    Raises:
        ValueError: When there are no rows.
    """
    if not rows:
        raise ValueError("report() wants at least one row, got none; run first")
    tables = [set_table([row for row in rows if row.set == name], name) for name in names_of(rows, "set")]
    errors = [f"- {row.tool}, {row.set}, {row.fixed} <- {row.moving}: {row.error}" for row in rows if row.error]
    failed = ["Errors:\n\n" + "\n".join(errors)] if errors else []
    return "\n\n".join([*tables, *failed, settings_table(rows)])


def set_table(rows: Sequence[Row], name: str) -> str:
    """Mean over the pairs of one set, one line a tool; a tool that failed on some pairs is judged on the others."""
    pairs = len({(row.fixed, row.moving) for row in rows})
    threads = ", ".join(sorted({f"{row.threads} thread(s)" for row in rows}))
    header = [f"**{name}**: {pairs} pair(s), HD95 in {rows[0].unit}, {threads}.", ""]
    lines = [f"| tool | pairs | {' | '.join(COLUMNS)} |", "|---|---|" + "---|" * len(COLUMNS)]
    for tool in names_of(rows, "tool"):
        own = [row for row in rows if row.tool == tool]
        good = [row for row in own if not row.error]
        cells = [tool, str(len(own)) if len(good) == len(own) else f"{len(good)} of {len(own)}"]
        cells += [_mean(good, field, digits) for field, digits in COLUMNS.values()]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*header, *lines])


def settings_table(rows: Sequence[Row]) -> str:
    """Version and settings of each tool, and how far at most the Dice by its field is from that by its resampler."""
    lines = ["| tool | version | settings | field, Dice off by (%) |", "|---|---|---|---|"]
    for tool in names_of(rows, "tool"):
        own = [row for row in rows if row.tool == tool]
        apart = [abs(row.dice - row.field_dice) for row in own if not row.error]
        off = f"{max(apart):.3f}" if apart else "-"
        lines.append(f"| {tool} | {own[0].version} | {own[0].settings} | {off} |")
    return "\n".join(lines)


def plot_pareto(rows: Sequence[Row], path: Path) -> None:
    """Dice against processor seconds, an axis a set, a point a tool: the mean of the pairs without an error."""
    sets, tools = names_of(rows, "set"), [tool for tool in names_of(rows, "tool") if tool != START]
    figure = Figure(figsize=(11, 3.4 * -(-len(sets) // 3)), layout="constrained")
    columns = min(3, len(sets))
    grid = figure.subplots(-(-len(sets) // columns), columns, squeeze=False)
    for axes in grid.flat[len(sets) :]:
        axes.set_visible(False)
    for name, axes in zip(sets, grid.flat):
        good = [row for row in rows if row.set == name and not row.error]
        for tool in [START, *tools]:
            own = [row for row in good if row.tool == tool]
            if own and tool == START:
                axes.axhline(np.mean([row.dice for row in own]), color="grey", linestyle=":", label=START)
            elif own:
                place = [np.mean([row.cpu_s for row in own]), np.mean([row.dice for row in own])]
                number = tools.index(tool)
                axes.plot(*place, "os^Dv*"[number % 6], color=f"C{number % 10}", label=tool)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set(title=name, xlabel="processor seconds a pair", ylabel="Dice (%)")
        axes.grid(alpha=0.3)
    labels = {label: line for axes in grid.flat for line, label in zip(*axes.get_legend_handles_labels())}
    figure.legend(labels.values(), labels.keys(), loc="outside upper center", ncols=5)
    figure.savefig(path, dpi=110)


def _mean(rows: Sequence[Row], field: str, digits: int) -> str:
    return f"{np.mean([getattr(row, field) for row in rows]):.{digits}f}" if rows else "-"
