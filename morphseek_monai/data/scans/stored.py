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

__all__ = ["StoredImage", "header_like", "read_stored", "require_same_grid", "write_like", "write_nifti"]


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
    return StoredImage(path, array, image.get_data_dtype(), image.affine, image.header)


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
    """Write an array on the grid of ``like`` with its header, except for what describes its intensities.

    Args:
        path: ``.nii`` or ``.nii.gz``.
        array: ``(X, Y, Z)``, stored in its own dtype.
        like: usually the fixed image.
    """
    write_nifti(path, array, like.affine, header_like(like.header, array.dtype))


def header_like(header: Any, dtype: Any) -> Any:
    """A copy of a header for other intensities on the same grid.

    Args:
        header: of the image to be like.
        dtype: of the new voxels.
    """
    copy: Any = nib.Nifti1Header.from_header(header)  # type: ignore[no-untyped-call]
    copy.set_data_dtype(dtype)
    copy.set_slope_inter(1, 0)
    copy["cal_min"] = copy["cal_max"] = 0
    return copy


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
