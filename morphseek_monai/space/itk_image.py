"""Arrays in RAS millimetres <-> ITK images in LPS millimetres."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphseek_monai.base.lazy import lazy_module

itk = lazy_module("itk")

__all__ = ["RAS_TO_LPS", "from_itk", "itk_affine", "place", "to_itk"]

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # its own inverse


def to_itk(array: NDArray[Any], affine: NDArray[Any]) -> Any:
    """Make an ITK image.

    Args:
        array: ``(X, Y, Z)`` or ``(X, Y, Z, T)`` in NiBabel's order, copied. Types that ITK's Python package lacks are
            widened: int8 to int16, int64 to int32 where it fits, else to float64.
        affine: ``(4, 4)`` voxel -> RAS mm.

    Example:
        >>> image = to_itk(np.zeros((4, 5, 6), np.uint8), np.diag([2.0, 1, 3, 1]))
        >>> itk.size(image), itk.spacing(image)
        (itkSize3 ([4, 5, 6]), itkVectorD3 ([2, 1, 3]))
    """
    return place(itk.image_from_array(np.ascontiguousarray(_wrapped(array).transpose())), affine)


def place(image: Any, affine: NDArray[Any]) -> Any:
    """Set origin, spacing and direction of an ITK image of three dimensions or more; time steps become 0, 1, 2, ...

    ITK's images keep a sheared direction as it is; only its NIfTI reader refuses one.

    Args:
        image: the ITK image, changed.
        affine: ``(4, 4)`` voxel -> RAS mm.

    Returns:
        the image.
    """
    dimension = image.GetImageDimension()
    lps = RAS_TO_LPS @ np.asarray(affine, dtype=np.float64)
    spacing, origin, direction = np.ones(dimension), np.zeros(dimension), np.eye(dimension)
    spacing[:3] = np.linalg.norm(lps[:3, :3], axis=0)
    origin[:3] = lps[:3, 3]
    direction[:3, :3] = lps[:3, :3] / spacing[:3]
    image.SetOrigin(origin.tolist())
    image.SetSpacing(spacing.tolist())
    image.SetDirection(itk.matrix_from_array(direction))
    return image


def itk_affine(image: Any) -> NDArray[np.float64]:
    """Affine ``(4, 4)``, voxel -> RAS mm, of the array that an ITK image of three dimensions or more holds.

    The first voxel of the array is the first of the image's region, whose index need not be 0.
    """
    lps = np.eye(4)
    direction = itk.array_from_matrix(image.GetDirection())[:3, :3]
    lps[:3, :3] = direction * np.array(list(image.GetSpacing()))[:3]
    start = np.array(list(image.GetLargestPossibleRegion().GetIndex()))[:3]
    lps[:3, 3] = np.array(list(image.GetOrigin()))[:3] + lps[:3, :3] @ start
    return RAS_TO_LPS @ lps


def from_itk(image: Any) -> NDArray[Any]:
    """A copy of an ITK image's voxels with the axes in NiBabel's order, ``(X, Y, Z)`` or ``(X, Y, Z, T)``."""
    array: NDArray[Any] = itk.array_from_image(image)
    return np.transpose(array)


def _wrapped(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype == bool:
        return array.astype(np.uint8)
    if array.dtype == np.int8:
        return array.astype(np.int16)
    if array.dtype == np.int64:
        limits = np.iinfo(np.int32)
        fits = limits.min <= array.min() and array.max() <= limits.max
        return array.astype(np.int32 if fits else np.float64)
    return array.astype(np.float32) if array.dtype == np.float16 else array
