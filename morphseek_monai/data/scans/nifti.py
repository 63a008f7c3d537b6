"""Scans that NiBabel reads: NIfTI, Analyze, MGH. It takes oblique and sheared headers that ITK refuses."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from morphseek_monai.base.errors import DataError
from morphseek_monai.base.files import unreadable
from morphseek_monai.space.nifti_header import MILLIMETRES, RawHeader, in_mm, length_unit, raw_header, stretch

from .cleaning import ORDINALS, check_affine
from .request import Loaded, Request

__all__ = ["NIFTI_SUFFIXES", "load_nibabel", "load_nifti_file"]

NIFTI_SUFFIXES = (".nii", ".nii.gz", ".hdr", ".img", ".img.gz", ".mgh", ".mgz")
APART = 0.1  # of a voxel: qform and sform say another place
UNSCALED = (1.0, 0.0)


def load_nifti_file(path: str, request: Request) -> Loaded:
    """Read a file through NiBabel.

    Args:
        path: an existing file.
        request: which volume of it.

    Raises:
        DataError: it cannot be read, or its header places nothing.
    """
    try:
        # no memory map: the array must outlive the file
        image: Any = nib.load(path, mmap=False)
        raw = raw_header(path, image.header)
    except Exception as error:
        raise _unread(path, request.who, error) from error
    return _load(image, raw, path, request)


def load_nibabel(image: Any, request: Request) -> Loaded:
    """Take an image of NiBabel, in memory or not read yet.

    Args:
        image: any spatial image of NiBabel; not changed.
        request: which volume of it.

    Raises:
        DataError: its header places nothing, or its file cannot be read.
    """
    header = image.header
    raw = RawHeader((), (), None, length_unit(header))
    if isinstance(header, nib.Nifti1Header):
        raw = raw_header(BytesIO(header.binaryblock), header)  # type: ignore[arg-type]
    return _load(image, raw, image.get_filename() or "", request)


def _load(image: Any, raw: RawHeader, path: str, request: Request) -> Loaded:
    if not isinstance(image, SpatialImage):
        raise DataError(f"{request.who} holds {type(image).__name__}, no volume; give an image")
    notices = _check_header(image, raw, request.who)
    index = request.select(image.shape)
    try:
        return Loaded(_voxels(image, index), in_mm(image.affine, image.header), notices, image.header)
    except Exception as error:
        raise _unread(path, request.who, error) from error


def _unread(path: str, who: str, error: Exception) -> DataError:
    found = unreadable(path) if path else None
    return DataError(f"{who} {found or f'cannot be read ({error}); copy it again, or correct the ending of its name'}")


def _check_header(image: Any, raw: RawHeader, who: str) -> tuple[str, ...]:
    for axis, size in enumerate(raw.pixdim):
        if not 0 < size < np.inf:
            raise DataError(f"{who} has spacing {size:g} along its {ORDINALS[axis]} axis (pixdim); repair the header")
    if not raw.codes:
        return check_affine(image.affine, who)
    qform, sform = raw.codes
    field = "sform" if sform > 0 else "qform" if qform > 0 else "pixdim"
    notices = check_affine(image.affine, who, field)
    if field == "pixdim":
        notices += (
            f"{who}: its header says no orientation (qform and sform codes are 0); taken as NiBabel does, the first"
            " axis to the left, the centre at 0; other programs may place it elsewhere",
        )
    if raw.apart is not None and not raw.apart <= APART:  # NaN: the qform is none
        distance = f"are up to {raw.apart:.3g} voxels apart" if np.isfinite(raw.apart) else "contradict each other"
        notices += (f"{who}: qform and sform of its header {distance}; the sform is used, other programs may not",)
    edges = np.linalg.norm(image.affine[:3, :3], axis=0)
    if stretch(raw.pixdim, edges):
        notices += (
            f"{who}: its pixdim says voxels of {_sizes(raw.pixdim)}, its {field} {_sizes(edges)}; the {field} is used,"
            " ITK takes pixdim",
        )
    if raw.unit != "mm" and raw.unit in MILLIMETRES:
        notices += (f"{who}: its header counts in {raw.unit}s; turned into mm",)
    return notices


def _sizes(edges: Any) -> str:
    return " x ".join(f"{float(edge):.5g}" for edge in edges)


def _voxels(image: Any, index: tuple[int | slice, ...]) -> NDArray[Any]:
    data = image.dataobj
    if not nib.is_proxy(data):  # type: ignore[no-untyped-call]
        return np.array(np.asanyarray(data)[index])
    scale = (getattr(data, "slope", 1.0), getattr(data, "inter", 0.0))
    if scale == UNSCALED or data.dtype.itemsize > 2 or index != (slice(None),) * len(index):
        return np.asarray(data[index])
    # NiBabel scales in double precision, which takes eight times the memory of 16-bit voxels
    array: NDArray[Any] = data.get_unscaled().astype(np.float32)
    array *= scale[0]
    array += scale[1]
    return array
