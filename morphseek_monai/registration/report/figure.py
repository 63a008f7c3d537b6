"""`report.png`: the report as one static picture."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from .content import ReportContent
from .panels import Panel, Panels
from .planes import PLANES

COLUMNS = {
    "fixed": "fixed",
    "before": "moving,\nby the headers",
    "aligned": "moving,\nafter the affine",
    "warped": "registered",
    "difference-warped": "fixed − registered",
    "grid": "deformation grid",
    "jacobian": "Jacobian determinant\n(folds are black)",
}
COLOURS = {"succeeded": "#146c43", "doubtful": "#8a5a00", "failed": "#b02a37"}
_WIDTH = 15.0  # inches
_TOP, _BOTTOM = 1.15, 0.55  # inches, for title and colour bars


def make_figure(content: ReportContent, panels: Panels) -> Figure:
    """Draw planes in rows and quantities in columns, on one scale in mm.

    Args:
        content: what the report is about.
        panels: its pictures.

    Returns:
        A matplotlib figure, independent of any display; the title says the verdict.
    """
    extents = [panels.cuts.extent(plane) for plane in PLANES]
    width = max(w for w, _ in extents)
    heights = [h for _, h in extents]
    body = _WIDTH / len(COLUMNS) / width * sum(heights)
    total = _TOP + body + _BOTTOM
    figure = Figure(figsize=(_WIDTH, total))
    axes = figure.subplots(
        3,
        len(COLUMNS),
        gridspec_kw={
            "height_ratios": heights,
            "left": 0.005,
            "right": 0.995,
            "bottom": _BOTTOM / total,
            "top": 1 - _TOP / total,
            "wspace": 0.03,
            "hspace": 0.03,
        },
    )
    for column, (key, title) in enumerate(COLUMNS.items()):
        for row in range(3):
            _draw(axes[row, column], panels, panels[key], row)
        axes[0, column].set_title(title, fontsize=10)
        _draw_bar(axes[2, column], panels[key])
    colour = COLOURS[content.verdict]
    figure.text(0.008, 1 - 0.12 / total, content.title, fontsize=13, va="top", parse_math=False)
    figure.text(0.008, 1 - 0.42 / total, _verdict(content), fontsize=11, va="top", color=colour, weight="bold")
    return figure


def _verdict(content: ReportContent) -> str:
    reasons = [check.name for check in content.checks if check.outcome != "succeeded"]
    return content.verdict.upper() + (f": {', '.join(reasons)}" if reasons else "")


def _draw(ax: Any, panels: Panels, panel: Panel, row: int) -> None:
    plane = PLANES[row]
    across, down = panels.cuts.voxels(plane)
    width, height = panels.cuts.spacing(plane)
    colours = panel.palette[panel.indices[row]]
    ax.imshow(colours, extent=(0, across, down, 0), aspect=height / width, interpolation="bilinear")
    if panel.lines[row]:
        ax.add_collection(LineCollection(list(panel.lines[row]), colors="#57d0ff", linewidths=0.6))
    ax.set(xlim=(0, across), ylim=(down, 0))
    ax.set_axis_off()
    for letter, (x, y) in zip(plane.letters, ((0.03, 0.5), (0.97, 0.5), (0.5, 0.96), (0.5, 0.04))):
        ax.text(x, y, letter, transform=ax.transAxes, fontsize=7, ha="center", va="center", color="#ffe08a")


def _draw_bar(ax: Any, panel: Panel) -> None:
    """A colour bar below the lowest plane of a column."""
    if panel.bar is None:
        return
    bar = ax.inset_axes([0.05, -0.09, 0.9, 0.03])
    colours = panel.palette[1 if panel.bar.reserved else 0 :]
    bar.imshow(colours[np.newaxis], aspect="auto", extent=(0, 1, 0, 1))
    bar.set_yticks([])
    bar.set_xticks([0, 0.5, 1], [panel.bar.low, panel.bar.middle, panel.bar.high], fontsize=7)
