"""Experiments: carry out plans of trainings, tabulate and plot what came of them.

See docs/experiments.md. Needs the file locks of Linux and macOS.
"""

from .main import run
from .plan import Plan, PlanError, Row, read_plan
from .plots import plot_coordinate, plot_curves
from .tables import grid, table

__all__ = ["Plan", "PlanError", "Row", "grid", "plot_coordinate", "plot_curves", "read_plan", "run", "table"]
