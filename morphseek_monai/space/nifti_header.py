"""The geometry of a NIfTI header as it is written, before NiBabel repairs or chooses."""

from __future__ import annotations

from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from nibabel.openers import ImageOpener
from numpy.typing import NDArray

from .grid import corner_distance

__all__ = ["RawHeader", "axis_codes", "in_mm", "keep_time", "length_unit", "raw_header", "stretch"]

MILLIMETRES = {"mm": 1.0, "meter": 1e3, "micron": 1e-3}  # of NIfTI's units of length; those of no name count as mm
STRETCH = 1e-3  # of a voxel's edge: pixdim and affine say another size


class RawHeader(NamedTuple):
    """Fields of :class:`~morphseek_monai.doctor.report.FileReport` of the same names."""

    pixdim: tuple[float, ...]
    codes: tuple[int, ...]
    apart: float | None
    unit: str = "mm"


def raw_header(path: str, header: Any) -> RawHeader:
    """Read spacing and orientation of a single-file NIfTI image once more, without NiBabel's repairs.

    On loading, NiBabel turns a spacing of 0 into 1 with a line in its log; ITK does otherwise. Where qform
    and sform are both set, NiBabel takes the sform, and a program that takes the other sees another place.

    Args:
        path: the file.
        header: what NiBabel made of it; tells NIfTI-1, NIfTI-2 and other formats apart.
    """
    if not isinstance(header, nib.Nifti1Header) or not header.is_single:
        return RawHeader((), (), None, length_unit(header))
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
    return RawHeader(pixdim, codes, apart, length_unit(header))


def length_unit(header: Any) -> str:
    """What a header's lengths count in: ``mm``, ``meter``, ``micron``, or ``unknown``."""
    if not isinstance(header, nib.Nifti1Header):
        return "mm"
    try:
        return str(header.get_xyzt_units()[0])  # type: ignore[no-untyped-call]
    except KeyError:  # a code that is none
        return "unknown"


def keep_time(header: Any, source: Any) -> None:
    """Copy the time between volumes, and its unit, from one NIfTI header to another; other formats have none."""
    if not isinstance(source, nib.Nifti1Header):
        return
    header["pixdim"][4] = source["pixdim"][4]
    try:
        unit = source.get_xyzt_units()[1]  # type: ignore[no-untyped-call]
    except KeyError:
        unit = "unknown"
    header.set_xyzt_units("mm", unit)


def in_mm(affine: NDArray[Any], header: Any) -> NDArray[np.float64]:
    """NiBabel's affine, which is in the header's unit of length, in millimetres, as ITK takes it.

    Args:
        affine: ``(4, 4)`` voxel -> RAS, in the unit of ``header``.
        header: NiBabel's.
    """
    scaled = np.array(affine, dtype=np.float64)
    scaled[:3] *= MILLIMETRES.get(length_unit(header), 1.0)
    return scaled


def stretch(pixdim: tuple[float, ...], spacing: Any) -> bool:
    """Whether a header's pixdim says another voxel size than its affine; NiBabel takes the affine's, ITK's is pixdim's.

    Args:
        pixdim: of :func:`raw_header`, empty for other formats.
        spacing: ``(3,)``, edges of a voxel by the affine, in the header's unit.
    """
    return any(abs(size - edge) > STRETCH * abs(edge) for size, edge in zip(pixdim, spacing))


def axis_codes(affine: NDArray[Any]) -> str:
    """Direction of the three voxel axes, ``"?"`` for one without.

    Example:
        >>> axis_codes(np.diag([-1.0, -1, 1, 1]))
        'LPS'
    """
    if not np.isfinite(affine).all():
        return "???"
    return "".join(code or "?" for code in nib.aff2axcodes(affine))  # type: ignore[no-untyped-call]
