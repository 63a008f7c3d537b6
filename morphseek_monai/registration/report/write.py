"""Write a report into a folder."""

from __future__ import annotations

import os
from pathlib import Path

from morphseek_monai.base.files import atomic_output

from .content import ReportContent
from .figure import make_figure
from .page import make_page
from .panels import make_panels

_DPI = 100  # 1500 pixels wide


def write_report(folder: str | os.PathLike[str], content: ReportContent) -> None:
    """Write ``report.html``, one self-contained interactive page, and ``report.png``, one static picture.

    Each file is written whole or not at all.

    Args:
        folder: where to; made if missing.
        content: what the report shows.

    Raises:
        DataError: the folder cannot be made or written.
    """
    panels = make_panels(content)
    with atomic_output(Path(folder) / "report.html") as path:
        path.write_text(make_page(content, panels), encoding="utf-8")
    with atomic_output(Path(folder) / "report.png") as path:
        make_figure(content, panels).savefig(path, dpi=_DPI)
