"""The geometry of a NIfTI header as it is written, before NiBabel repairs or chooses."""

from __future__ import annotations

from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from nibabel.openers import ImageOpener
from numpy.typing import NDArray

from .grid import corner_distance

__all__ = ["RawHeader", "axis_codes", "raw_header"]


class RawHeader(NamedTuple):
    """Fields of :class:`~morphseek_monai.doctor.report.FileReport` of the same names."""

    pixdim: tuple[float, ...]
    codes: tuple[int, ...]
    apart: float | None


def raw_header(path: str, header: Any) -> RawHeader:
    """Read spacing and orientation of a single-file NIfTI image once more, without NiBabel's repairs.

    On loading, NiBabel turns a spacing of 0 into 1 with a line in its log; ITK does otherwise. Where qform
    and sform are both set, NiBabel takes the sform, and a program that takes the other sees another place.

    Args:
        path: the file.
        header: what NiBabel made of it; tells NIfTI-1, NIfTI-2 and other formats apart.
    """
    if not isinstance(header, nib.Nifti1Header) or not header.is_single:
        return RawHeader((), (), None)
    with ImageOpener(path) as stream:
        raw: Any = type(header).from_fileobj(stream, check=False)  # type: ignore[no-untyped-call]
    codes = (int(raw["qform_code"]), int(raw["sform_code"]))
    pixdim = tuple(float(size) for size in raw["pixdim"][1:4])
    apart = None
    if min(codes) > 0:
        try:
            apart = corner_distance(raw.get_qform(), raw.get_sform(), raw.get_data_shape()[:3])
        except ValueError:  # NiBabel's HeaderDataError is one
            apart = float("nan")
    return RawHeader(pixdim, codes, apart)


def axis_codes(affine: NDArray[Any]) -> str:
    """Direction of the three voxel axes, ``"?"`` for one without.

    Example:
        >>> axis_codes(np.diag([-1.0, -1, 1, 1]))
        'LPS'
    """
    if not np.isfinite(affine).all():
        return "???"
    return "".join(code or "?" for code in nib.aff2axcodes(affine))  # type: ignore[no-untyped-call]
