"""The pages to look at after a registration: `report.html` (self-contained, interactive) and `report.png`."""

from __future__ import annotations

from .view import ReportView
from .write import write_report

__all__ = ["ReportView", "write_report"]
