"""One scan, wherever it comes from: a file of any format, a folder of DICOM slices, an object in memory."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from morphseek_monai.base.errors import DataError
from morphseek_monai.base.files import require_scan
from morphseek_monai.space.grid import Grid
from morphseek_monai.space.itk_image import to_itk

from .cleaning import check_affine, check_size, clean_ids, clean_values, plain_dtype
from .dicom import load_dicom_folder
from .itk import load_itk_file, write_itk_file
from .kind import Kind, kind_of
from .memory import is_meta_tensor, load_memory, memory_name, meta_tensor_like
from .nifti import NIFTI_SUFFIXES, load_nifti_file
from .request import Loaded, Request
from .stored import header_on, write_nifti

__all__ = ["WRITABLE", "Scan", "read_scan", "read_series", "same_type", "write_scan"]

WRITABLE = (".nii", ".nii.gz", ".nrrd", ".mha")  # one file each, with the grid in it
LABELS = ("label", "mask")  # roles that end so


@dataclass(frozen=True, eq=False)
class Scan:
    """A scan in NumPy, with its place in the body.

    Attributes:
        name: its path, or what kind of object it was.
        array: ``(X, Y, Z)``, from :func:`read_series` also ``(X, Y, Z, T)``; real values (slope and intercept applied)
            in the file's own type where it has no slope. Finite: NaN is 0 in label maps, the smallest value in images.
            Never memory of the source.
        affine: ``(4, 4)`` float64, voxel -> RAS mm.
        source: what it was read from.
        notices: lines about what was repaired or decided on reading, each with the name.
        header: NiBabel's, where there is one.
        missing: where an image was NaN or infinite, of the shape of ``array``: outside of it. None where it is whole.
        is_label: whether it was read as a label map.
    """

    name: str
    array: NDArray[Any]
    affine: NDArray[np.float64]
    source: Any
    notices: tuple[str, ...] = ()
    header: Any = None
    missing: NDArray[np.bool_] | None = None
    is_label: bool = False

    @property
    def grid(self) -> Grid:
        """Size and place of the voxels."""
        return Grid.from_size(self.array.shape[:3], self.affine)

    @cached_property
    def kind(self) -> Kind:
        """Image or label map: what it was read as, or else :func:`~morphseek_monai.data.scans.kind.kind_of`."""
        if self.is_label:
            return Kind("label", "it was given as one")
        known = self.array if self.missing is None else np.where(self.missing, 0, self.array)
        return kind_of(known, self.name if isinstance(self.source, str | os.PathLike) else "", self.header)

    def as_labels(self) -> Scan:
        """The same as a label map: NaN is 0, ids are whole; with fractions it stays what it is."""
        if self.is_label:
            return self
        values = self.array if self.missing is None else np.where(self.missing, np.nan, self.array)
        cleaned = clean_ids(values, f"label {self.name}")
        if cleaned is None:
            return self
        notices = self.notices + cleaned.notices
        return replace(self, array=cleaned.array, missing=None, notices=notices, is_label=True)


def read_scan(source: Any, role: str = "image", frame: int | None = None) -> Scan:
    """Read one 3-D scan.

    Args:
        source: a path (NIfTI and MGH are read by NiBabel, everything else, as NRRD, MetaImage, DICOM, by ITK; a folder
            is one DICOM series), a NiBabel image, an ``itk.Image``, or a MetaTensor ``(X, Y, Z)`` or ``(1, X, Y, Z)``.
            It is not changed.
        role: what it is, for messages, e.g. ``"moving image"``; what ends in ``label`` or ``mask`` is a label map: it
            may be constant, its NaN are background, and ids that a slope left beside whole numbers are rounded.
        frame: which volume of a 4-D image, from 0.

    Raises:
        DataError: it cannot be read, its header places nothing, it is no single 3-D volume of real numbers of at least
            8 voxels along each axis, or it is constant.
        TypeError: ``source`` is of another type.

    Example:
        >>> from monai.data import MetaTensor
        >>> values = np.arange(8 * 9 * 10, dtype=np.int16).reshape(8, 9, 10)
        >>> scan = read_scan(nib.Nifti1Image(values, np.diag([1.0, 1, 2, 1])), "fixed image")
        >>> scan.grid.size, scan.grid.spacing, scan.array.dtype, scan.kind.name
        ((8, 9, 10), array([1., 1., 2.]), dtype('int16'), 'image')
    """
    request = Request(_who(source, role), frame, constant=role.endswith(LABELS))
    scan = _read(source, role, request)
    check_size(scan.array.shape, request.who)
    return scan


def read_series(source: Any, role: str = "image") -> Scan:
    """Read all volumes, to transform them alike.

    Args:
        source: as for :func:`read_scan`; of a MetaTensor ``(T, X, Y, Z)`` the channels are the volumes.
        role: what it is, for messages.

    Returns:
        a scan whose array is ``(X, Y, Z)``, or ``(X, Y, Z, T)`` with more than one volume; constants and thin slabs
        are accepted.

    Raises:
        DataError: as :func:`read_scan`.
        TypeError: ``source`` is of another type.
    """
    return _read(source, role, Request(_who(source, role), series=True, constant=True))


def write_scan(path: str | os.PathLike[str], array: NDArray[Any], grid: Grid, like: Scan | None = None) -> None:
    """Write a scan, whole or not at all; missing folders are made.

    Args:
        path: ``.nii``, ``.nii.gz`` (by NiBabel), ``.nrrd`` or ``.mha`` (by ITK, compressed).
        array: ``(X, Y, Z)`` or ``(X, Y, Z, T)``, stored in its own type where the format has it.
        grid: where it lies.
        like: on the same grid, gives a NIfTI file its affine, bit for bit, and the codes of its header.

    Raises:
        DataError: another ending, or the file cannot be written.
    """
    name = os.fspath(path)
    if not name.lower().endswith(WRITABLE):
        raise DataError(f"{name} cannot be written: its name must end in one of {', '.join(WRITABLE)}; rename it")
    array = plain_dtype(array, name)
    if name.lower().endswith((".nii", ".nii.gz")):
        affine, header = _nifti_geometry(array, grid, like)
        write_nifti(path, array, affine, header)
    else:
        write_itk_file(path, array, grid.affine)


def same_type(array: NDArray[Any], grid: Grid, like: Scan) -> Any:
    """Give a result back in the type of what was given.

    Args:
        array: ``(X, Y, Z)``.
        grid: where it lies.
        like: the scan whose source tells the type.

    Returns:
        an ``itk.Image`` for one; a MetaTensor of the same layout, on the same device, for one; else a NiBabel image,
        with the affine of ``like``, bit for bit, where both lie on one grid.

    Example:
        >>> from monai.data import MetaTensor
        >>> scan = read_scan(MetaTensor(np.random.rand(1, 8, 8, 8)))
        >>> same_type(scan.array * 2, scan.grid, scan).shape
        torch.Size([1, 8, 8, 8])
    """
    array = plain_dtype(array, like.name)
    affine, header = _nifti_geometry(array, grid, like)
    if is_meta_tensor(like.source):
        return meta_tensor_like(array, affine, like.source, grid.same_as(like.grid))
    if isinstance(like.source, str | os.PathLike | SpatialImage):
        return nib.Nifti1Image(array, affine, header)  # type: ignore[no-untyped-call]
    return to_itk(array, affine)


def _nifti_geometry(array: NDArray[Any], grid: Grid, like: Scan | None) -> tuple[NDArray[np.float64], Any]:
    if like is None or not grid.same_as(like.grid):
        return grid.affine, header_on(grid.affine, array.dtype)
    return like.affine, header_on(like.affine, array.dtype, like.header)


def _who(source: Any, role: str) -> str:
    return f"{role} {os.fspath(source) if isinstance(source, str | os.PathLike) else memory_name(source)}"


def _read(source: Any, role: str, request: Request) -> Scan:
    is_path = isinstance(source, str | os.PathLike)
    if is_path:
        require_scan(source, role)
    loaded = _load_path(os.fspath(source), request) if is_path else load_memory(source, request)
    who = request.who
    affine = np.array(loaded.affine, dtype=np.float64)
    notices = loaded.notices
    if loaded.header is None:  # NiBabel's reader has told which field of the header is wrong
        notices += check_affine(affine, who)
    array = plain_dtype(loaded.array, who)
    if array.size == 0:
        raise DataError(f"{who} has no voxel, its shape is {array.shape}; write it again")
    ids = clean_ids(array, who) if role.endswith(LABELS) else None
    array, missing, cleaned = ids or clean_values(array, who, request.constant)
    name = who.removeprefix(f"{role} ")
    return Scan(name, array, affine, source, notices + cleaned, loaded.header, missing, ids is not None)


def _load_path(path: str, request: Request) -> Loaded:
    if os.path.isdir(path):
        return load_dicom_folder(path, request)
    if path.lower().endswith(NIFTI_SUFFIXES):
        return load_nifti_file(path, request)
    return load_itk_file(path, request)
