"""Read and write NIfTI images on their own grid."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from morphseek_monai.base.errors import DataError
from morphseek_monai.base.files import atomic_output, require_file, unreadable
from morphseek_monai.space.grid import GRID_TOLERANCE, corner_distance
from morphseek_monai.space.nifti_header import in_mm, keep_time, length_unit, stretch

_ALIGNED = 2  # what NiBabel writes for an affine of no origin
_GEOMETRY = (
    "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z",
    "srow_x", "srow_y", "srow_z",
)  # fmt: skip

__all__ = ["StoredImage", "header_on", "read_stored", "require_same_grid", "write_like", "write_nifti"]


class StoredImage(NamedTuple):
    """One image as its file has it.

    Attributes:
        path: the file.
        array: ``(X, Y, Z)``, after the header's slope and intercept.
        dtype: of the voxels in the file.
        affine: ``(4, 4)`` voxel -> RAS mm.
        header: the file's header, as NiBabel reads it.
    """

    path: str
    array: NDArray[Any]
    dtype: np.dtype[Any]
    affine: NDArray[np.float64]
    header: Any


def read_stored(path: str, role: str = "image") -> StoredImage:
    """Read one 3-D image; a trailing axis of one is dropped.

    Args:
        path: a file that NiBabel reads.
        role: what it is, for the message.

    Raises:
        DataError: it is missing, cannot be read, or is not 3-D.
    """
    require_file(path, role)
    try:
        image: Any = nib.load(path)
        array = np.asanyarray(image.dataobj)
    except Exception as error:
        reason = unreadable(path) or f"cannot be read ({error}); give a NIfTI file"
        raise DataError(f"{role} {path} {reason}") from error
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != 3:
        raise DataError(
            f"{role} {path} must be one 3-D volume, got shape {array.shape}; take one volume of it"
        )
    return StoredImage(path, array, image.get_data_dtype(), in_mm(image.affine, image.header), image.header)


def write_nifti(
    path: str | os.PathLike[str], array: NDArray[Any], affine: NDArray[Any], header: Any = None
) -> None:
    """Write a NIfTI file, whole or not at all.

    Args:
        path: ``.nii`` or ``.nii.gz``.
        array: the voxels, stored in their own dtype.
        affine: ``(4, 4)`` voxel -> RAS mm.
        header: what else the header should say.
    """
    image: Any = nib.Nifti1Image(array, affine, header)  # type: ignore[no-untyped-call]
    with atomic_output(path) as temporary:
        nib.save(image, temporary)


def write_like(path: str | os.PathLike[str], array: NDArray[Any], like: StoredImage) -> None:
    """Write an array on the grid of ``like``, and with nothing else of its header.

    Args:
        path: ``.nii`` or ``.nii.gz``.
        array: ``(X, Y, Z)``, stored in its own dtype.
        like: usually the fixed image.
    """
    write_nifti(path, array, like.affine, header_on(like.affine, array.dtype, like.header))


def header_on(affine: NDArray[Any], dtype: Any, like: Any = None) -> Any:
    """A NIfTI header of one geometry, which NiBabel, ITK and every other program read alike.

    qform, sform and pixdim say the same, in millimetres; only a sheared grid has no qform. Nothing else is taken from
    the header of another image, whose free text and extensions may tell about another person.

    Args:
        affine: ``(4, 4)`` voxel -> RAS mm.
        dtype: of the voxels.
        like: header of an image on the same grid: its codes are kept, its time step, and its numbers bit for bit where
            they say one thing.
    """
    header: Any = nib.Nifti1Header()  # type: ignore[no-untyped-call]
    header.set_data_dtype(dtype)
    header.set_xyzt_units("mm")
    keep_time(header, like)
    codes = (0, 0)
    if isinstance(like, nib.Nifti1Header):
        codes = (int(like["qform_code"]), int(like["sform_code"]))
        if _says_one_thing(like, codes):
            for name in _GEOMETRY:
                header[name] = like[name]
            header["pixdim"][:4] = like["pixdim"][:4]
            return header
    code = codes[1] or codes[0] or _ALIGNED
    edges = np.asarray(affine, dtype=np.float64)[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    sheared = np.abs(edges.T @ edges - np.eye(3)).max() > GRID_TOLERANCE
    header.set_qform(affine, 0 if sheared else code)
    header.set_sform(affine, code)
    return header


def _says_one_thing(header: Any, codes: tuple[int, int]) -> bool:
    """Whether all programs take the same place from a header, in millimetres."""
    if max(codes) <= 0 or length_unit(header) not in ("mm", "unknown"):
        return False
    affine = header.get_best_affine()
    if stretch(tuple(header["pixdim"][1:4]), np.linalg.norm(affine[:3, :3], axis=0)):
        return False
    if min(codes) <= 0:
        return True
    try:
        return corner_distance(affine, header.get_qform(), header.get_data_shape()[:3]) <= 10 * GRID_TOLERANCE
    except ValueError:  # a quaternion that is none
        return False


def require_same_grid(fixed: StoredImage, moving: StoredImage) -> None:
    """Check that two images share shape and affine, up to 1e-4 of a voxel at every corner.

    A field in voxels says where to look in the *moving* array; that is the moving scan only if both grids are
    one.

    Args:
        fixed: the fixed image.
        moving: the moving image or its label map.

    Raises:
        DataError: with the difference and the cure.
    """
    cure = "resample the moving image to the fixed image's grid before registration"
    if fixed.array.shape != moving.array.shape:
        raise DataError(
            f"moving {moving.path} has shape {moving.array.shape} but fixed {fixed.path} has"
            f" {fixed.array.shape}; {cure}"
        )
    # in voxels of the fixed grid, so the tolerance follows the spacing
    apart = corner_distance(fixed.affine, moving.affine, fixed.array.shape)
    if not apart <= GRID_TOLERANCE:
        raise DataError(
            f"moving {moving.path} lies on another grid than fixed {fixed.path},"
            f" up to {apart:.3g} voxels apart; {cure}"
        )
