"""Experiments: carry out plans of trainings, tabulate and plot what came of them.

See docs/experiments.md. Needs the file locks of Linux and macOS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from morphseek_monai.base.lazy import lazy_names

if TYPE_CHECKING:
    from .main import run
    from .plan import Plan, PlanError, Row, read_plan
    from .plots import plot_coordinate, plot_curves
    from .tables import grid, table
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

__all__ = ["Plan", "PlanError", "Row", "grid", "plot_coordinate", "plot_curves", "read_plan", "run", "table"]
