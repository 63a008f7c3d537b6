"""The pages to look at after a registration: `report.html` (self-contained, interactive) and `report.png`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from morphseek_monai.base.lazy import lazy_names

if TYPE_CHECKING:
    from .content import ReportContent
    from .write import write_report
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

__all__ = ["ReportContent", "write_report"]
