"""``morphseek segment``: label a scan by several labelled atlases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..base.errors import DataError
from ..base.files import require_scan
from ..base.option_text import PathText
from ..base.progress import progress
from ..base.terminable import terminable
from .register import check_options, require_writable

__all__ = ["segment"]


def segment(image: PathText, atlases: PathText, out: PathText, fusion: str = "local", **options: Any) -> str:
    """Label a scan by registering labelled images to it and fusing their labels.

    Takes every option of morphseek register; reports are not made unless asked for. Writes labels.nii.gz and
    agreement.nii.gz (the share of the votes that agree) on the scan's grid, structures.csv, segment.json, and each
    registration into OUT/atlases. Run again, it keeps what is registered. Atlases that cannot be read, or whose
    registration failed, are left out and told of.

    Args:
        image: the scan.
        atlases: folder with images/NAME.nii.gz and labels/NAME.nii.gz, or in the layout of Learn2Reg, LiTS17 or MSD.
        out: folder for the results.
        fusion: local weights the votes by the similarity of the images around each voxel; majority counts all alike.
        options: those of morphseek register.

    Returns:
        what was found, and what to look at.
    """
    if not str(out):  # --out=$EMPTY
        raise DataError(f"segment: --out must be a folder, got {out!r}; name one")
    require_scan(str(image), "image")
    from ..registration.options import make_options

    chosen = make_options({"report": False, **options}, "segment")
    check_options(chosen)
    folder = Path(str(out))
    require_writable(folder)
    from ..registration.segmentation.segment import segment as segment_scan

    with progress(), terminable():
        record = segment_scan(str(image), str(atlases), folder, fusion, chosen)
    found = [row for row in record["structures"] if row["voxels"]]
    lines = [f"notice: {notice}" for notice in record["notices"]]
    lines.append(f"{folder / 'labels.nii.gz'}: {len(found)} structures from {record['used']} atlases")
    if found:
        least = min(found, key=lambda row: row["agreement"])
        lines[-1] += f"; agreement {record['agreement']:.3f}, least {least['agreement']:.3f} of label {least['label']}"
    return "\n".join(lines)
