"""`report.html`: one file with everything inside, that opens without a network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from .content import ReportContent
from .lines import svg_path
from .panels import IMAGES, Panels
from .pictures import data_uri, gradient
from .planes import PLANES

STAGES = {
    "before": "by the headers", "affine": "after the affine", "initial": "by the initial transform",
    "after": "registered",
}  # fmt: skip


def make_page(content: ReportContent, panels: Panels) -> str:
    """The whole page.

    Args:
        content: what the report is about.
        panels: its pictures.

    Returns:
        HTML without any reference to the outside; a content security policy keeps it so.
    """
    reasons = [check for check in content.checks if check.outcome != "succeeded"]
    reasons.sort(key=lambda check: check.outcome != "failed")
    stages, rows = metrics_rows(content.metrics)
    page = templates().get_template("page.html")
    return page.render(content=content, panels=panels, reasons=reasons, stages=stages, rows=rows)


@cache
def templates() -> Environment:
    """The templates beside this file; they escape whatever they are given, and refuse a name that is not given."""
    environment = Environment(
        loader=PackageLoader(__package__, ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals.update(planes=PLANES, images=IMAGES)
    environment.filters.update(data_uri=data_uri, gradient=gradient, number=number, svg_path=svg_path)
    return environment


def metrics_rows(metrics: Mapping[str, Mapping[str, float]]) -> tuple[list[str], list[tuple[str, list[float]]]]:
    """Metrics in rows, stages in columns.

    Args:
        metrics: stage -> name -> value.

    Returns:
        headings of the stages that were measured, in the order of :data:`STAGES`; name and values of each metric, NaN
        where a stage lacks it.
    """
    stages = [stage for stage in STAGES if stage in metrics]
    names = dict.fromkeys(name for stage in stages for name in metrics[stage])
    rows = [(name, [metrics[stage].get(name, math.nan) for stage in stages]) for name in names]
    return [STAGES[stage] for stage in stages], rows


def number(value: float, unit: str = "") -> str:
    """A value to three digits with its unit; a dash where there is none.

    Example:
        >>> number(0.123456, "mm"), number(1234.5), number(float("nan"), "mm")
        ('0.123 mm', '1234', '–')
    """
    if math.isnan(value):
        return "–"
    text = f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return f"{text} {unit}".strip()
