"""File names that carry meaning: Learn2Reg's ``TASK_XXXX_MMMM`` (case XXXX, modality MMMM)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

__all__ = ["ScanName", "pair_name", "parse_name", "stem"]

_LEARN2REG = re.compile(r"(?P<task>.+)_(?P<case>\d{4})_(?P<modality>\d{4})")
_SUFFIXES = (".nii.gz", ".img.gz", ".hdr.gz")


class ScanName(NamedTuple):
    """The parts of ``TASK_XXXX_MMMM``."""

    task: str
    case: str
    modality: str


def stem(path: str) -> str:
    """Strip the folder and the extension, a double one such as ``.nii.gz`` whole.

    Example:
        >>> stem("imagesTr/OASIS_0013_0000.nii.gz"), stem("b/scan.v2.mha")
        ('OASIS_0013_0000', 'scan.v2')
    """
    name = Path(path).name
    for suffix in _SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return Path(name).stem


def parse_name(path: str) -> ScanName | None:
    """Read task, case and modality from a Learn2Reg file name; None for any other name.

    Example:
        >>> parse_name("imagesTr/AbdomenMRCT_0006_0001.nii.gz")
        ScanName(task='AbdomenMRCT', case='0006', modality='0001')
    """
    match = _LEARN2REG.fullmatch(stem(path))
    return ScanName(**match.groupdict()) if match else None


def pair_name(fixed: str, moving: str, short: bool = False) -> str:
    """Name a registration as Learn2Reg's evaluation looks for it, fixed image first.

    Args:
        fixed: path of the fixed image.
        moving: path of the moving image.
        short: leave the modalities out; the evaluation accepts that for 0000 <- 0001 only.

    Returns:
        ``XXXX_MMMM_XXXX_MMMM``, or both stems where a name is not Learn2Reg's.

    Example:
        >>> pair_name("OASIS_0013_0000.nii.gz", "OASIS_0014_0000.nii.gz")
        '0013_0000_0014_0000'
        >>> pair_name("OASIS_0013_0000.nii.gz", "OASIS_0014_0000.nii.gz", short=True)
        '0013_0014'
        >>> pair_name("monday.nii.gz", "friday.mha")
        'monday_friday'
    """
    f, m = parse_name(fixed), parse_name(moving)
    if f is None or m is None:
        return f"{stem(fixed)}_{stem(moving)}"
    if short:
        return f"{f.case}_{m.case}"
    return f"{f.case}_{f.modality}_{m.case}_{m.modality}"
