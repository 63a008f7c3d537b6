"""Tables and plots of the comparison, from the rows in its CSV files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from .results import Dices, Row

COLUMNS = {
    "Dice (%)": ("dice_percent", 1),
    "NJD (%)": ("njd_percent", 3),
    "SDlogJ": ("sdlogj", 3),
    "SDlogJ (L2R)": ("sdlogj_l2r", 3),
    "HD95 (mm)": ("hd95_mm", 2),
    "seconds": ("seconds", 2),
}
SIDES = ("Left-", "Right-")


def tools_of(rows: Iterable[Row]) -> list[str]:
    """Names of the tools in the order of their first row."""
    return list(dict.fromkeys(row.tool for row in rows))


def on_common_pairs(rows: Sequence[Row]) -> list[Row]:
    """Rows of the pairs that every tool has."""
    pairs = [{row.pair for row in rows if row.tool == tool} for tool in tools_of(rows)]
    common = set.intersection(*pairs)
    return [row for row in rows if row.pair in common]


def results_table(rows: Sequence[Row]) -> str:
    """Mean and standard deviation over the pairs, one line a tool, as Markdown."""
    lines = [f"| tool | pairs | {' | '.join(COLUMNS)} |", "|---|---|" + "---|" * len(COLUMNS)]
    for tool in tools_of(rows):
        own = [row for row in rows if row.tool == tool]
        cells = [tool, str(len(own))]
        for field, digits in COLUMNS.values():
            values = np.array([getattr(row, field) for row in own])
            spread = f" ± {values.std(ddof=1):.{digits}f}" if len(values) > 1 else ""
            cells.append(f"{values.mean():.{digits}f}{spread}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def settings_table(rows: Sequence[Row]) -> str:
    """Version and settings of each tool; how far the Dice by its own resampler is from that by the field, at most."""
    lines = ["| tool | version | settings | own resampler, Dice off by (%) |", "|---|---|---|---|"]
    for tool in tools_of(rows):
        own = [row for row in rows if row.tool == tool]
        apart = max(abs(row.own_dice_percent - row.dice_percent) for row in own)
        off = "-" if np.isnan(apart) else f"{apart:.3f}"
        lines.append(f"| {tool} | {own[0].version} | {own[0].settings} | {off} |")
    return "\n".join(lines)


def report(rows: Sequence[Row]) -> str:
    """All tables; where some tools have fewer pairs, all tools on the common ones as well."""
    threads = ", ".join(sorted({f"{row.threads} thread(s)" for row in rows}))
    parts = [f"Mean ± standard deviation over the pairs, {threads}.", results_table(rows)]
    common = on_common_pairs(rows)
    if 0 < len(common) < len(rows):
        pairs = dict.fromkeys(" <- ".join(row.pair) for row in common)
        parts += [f"The {len(pairs)} pair(s) that every tool has ({', '.join(pairs)}):", results_table(common)]
    return "\n\n".join([*parts, settings_table(rows)])


def plot_pareto(rows: Sequence[Row], path: Path) -> None:
    """Dice against seconds on the pairs that every tool has; the identity is a line, since it takes no time."""
    rows = on_common_pairs(rows)
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    for tool in tools_of(rows):
        own = [row for row in rows if row.tool == tool]
        dice = np.array([row.dice_percent for row in own])
        if tool == "identity":
            axes.axhline(dice.mean(), color="grey", linestyle=":", label="identity")
            continue
        seconds = float(np.mean([row.seconds for row in own]))
        points = axes.plot(seconds, dice.mean(), marker="o")
        axes.annotate(
            tool, (seconds, dice.mean()), xytext=(6, 4), textcoords="offset points", color=points[0].get_color()
        )
    axes.set_xscale("log")
    axes.margins(x=0.2, y=0.1)
    axes.set(xlabel="seconds a pair", ylabel="Dice (%)", title=f"mean of {len({row.pair for row in rows})} pair(s)")
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend()
    figure.savefig(path, dpi=110)


def pool_sides(dices: Dices, tool: str) -> dict[str, list[float]]:
    """Dice values of one tool by structure, left and right pooled, in the order of the labels."""
    pooled: dict[str, list[float]] = {}
    for (name, _, _, structure), dice in dices.items():
        if name == tool:
            side = next((side for side in SIDES if structure.startswith(side)), "")
            pooled.setdefault(structure.removeprefix(side), []).append(dice)
    return pooled


def plot_structures(dices: Dices, tools: Sequence[str], path: Path) -> None:
    """Box plots of the Dice of every structure, left and right pooled, over the pairs; one colour a tool."""
    pooled = {tool: pool_sides(dices, tool) for tool in tools}
    structures = list(dict.fromkeys(name for values in pooled.values() for name in values))
    figure = Figure(figsize=(12, 5), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(tools)
    for i, (tool, values) in enumerate(pooled.items()):
        places = [j - 0.4 + (i + 0.5) * width for j, name in enumerate(structures) if name in values]
        boxes = axes.boxplot(
            [values[name] for name in structures if name in values],
            positions=places,
            widths=0.85 * width,
            patch_artist=True,
            manage_ticks=False,
            medianprops={"color": "black"},
            flierprops={"markersize": 2},
        )
        for box in boxes["boxes"]:
            box.set_facecolor(f"C{i}")
        boxes["boxes"][0].set_label(tool)
    axes.set_xticks(range(len(structures)), structures, rotation=40, ha="right")
    axes.set_ylabel("Dice (%)")
    axes.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside upper center", ncols=min(len(tools), 8))
    figure.savefig(path, dpi=110)
