"""What a scan must be before it can be registered; a check raises one line that names the file, or notes something."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from morphseek_monai.base.errors import DataError

from .kind import whole_ids
from .request import no_number

__all__ = ["Cleaned", "check_affine", "check_size", "clean_ids", "clean_values", "plain_dtype"]

SMALLEST = 8  # voxels along an axis: what networks halve three times
SHEAR_TOLERANCE = 1e-4  # cosine between two axes; single precision headers miss a right angle by about 1e-6
FLAT = 1e-3  # volume that three unit axes span; below, they lie in one plane
ORDINALS = ("first", "second", "third")


def check_size(size: tuple[int, ...], who: str) -> None:
    """Refuse single slices and thin slabs.

    Args:
        size: voxels ``(X, Y, Z)``.
        who: role and name, for the message.

    Raises:
        DataError: fewer than 8 voxels along an axis.
    """
    if min(size) == 1:
        raise DataError(
            f"{who} is a single slice, its shape is {size}; 2-D registration is not supported, give the whole volume"
            " (for DICOM the folder of its series)"
        )
    if min(size) < SMALLEST:
        raise DataError(f"{who} must have at least {SMALLEST} voxels along each axis, got {size}; give a larger volume")


def check_affine(affine: NDArray[Any], who: str, field: str = "affine") -> tuple[str, ...]:
    """Refuse an affine that places nothing; note a sheared one.

    Args:
        affine: ``(4, 4)`` voxel -> RAS mm.
        who: role and name, for the message.
        field: of the header that it came from.

    Returns:
        the notices, at most one.

    Raises:
        DataError: it is not finite or not invertible.

    Example:
        >>> check_affine(np.array([[1.0, 0.1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "image a.nii")
        ('image a.nii: its first and second axis are 84.3 degrees apart (sheared grid); kept as it is',)
    """
    if affine.shape != (4, 4):
        raise DataError(f"{who} must have a 4 x 4 affine, got shape {affine.shape}; give one 3-D volume")
    if not np.isfinite(affine).all():
        raise DataError(f"{who} has NaN or infinity in its {field}; repair the header")
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    for axis in np.flatnonzero(edges == 0):
        raise DataError(f"{who} has spacing 0 along its {ORDINALS[axis]} axis in its {field}; repair the header")
    directions = affine[:3, :3] / edges
    if abs(np.linalg.det(directions)) < FLAT:
        raise DataError(f"{who} has a singular {field}: its three axes lie in one plane; repair the header")
    cosines = np.triu(directions.T @ directions, 1)
    first, second = np.unravel_index(np.abs(cosines).argmax(), (3, 3))
    if abs(cosines[first, second]) <= SHEAR_TOLERANCE:
        return ()
    degrees = np.degrees(np.arccos(cosines[first, second]))
    return (
        f"{who}: its {ORDINALS[first]} and {ORDINALS[second]} axis are {degrees:.1f} degrees apart (sheared grid);"
        " kept as it is",
    )


def plain_dtype(array: NDArray[Any], who: str) -> NDArray[Any]:
    """The array in a type of this machine that every tool knows: half, long and bool widened, native byte order.

    Raises:
        DataError: it holds anything but one real number per voxel.
    """
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind not in "biuf":
        raise no_number(who, "RGB or vectors" if kind == "V" else f"values of type {array.dtype}")
    if kind == "b":
        return array.astype(np.uint8)
    if kind == "f" and size not in (4, 8):
        return array.astype(np.float32 if size < 4 else np.float64)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


class Cleaned(NamedTuple):
    """What :func:`clean_values` returns.

    Attributes:
        array: finite, of the same type.
        missing: where it was not, of its shape; None where all was.
        notices: what was done.
    """

    array: NDArray[Any]
    missing: NDArray[np.bool_] | None
    notices: tuple[str, ...]


def clean_values(array: NDArray[Any], who: str, constant: bool = False) -> Cleaned:
    """Fill what is NaN or infinite by the smallest finite value, and remember where it was: outside of the image.

    Args:
        array: any shape, real.
        who: role and name, for the message.
        constant: accept the same value everywhere.

    Raises:
        DataError: nothing is finite, or everything is the same.

    Example:
        >>> cleaned = clean_values(np.array([np.nan, 2.0, 1.0]), "image a.nii")
        >>> cleaned.array, cleaned.missing
        (array([1., 2., 1.]), array([ True, False, False]))
        >>> cleaned.notices
        ('image a.nii: 1 NaN or infinite voxels lie outside of it',)
    """
    notices: tuple[str, ...] = ()
    missing: NDArray[np.bool_] | None = None
    low, high = array.min(), array.max()
    if not (np.isfinite(low) and np.isfinite(high)):  # NaN anywhere makes both NaN
        finite = np.isfinite(array)
        missing = ~finite
        bad = int(np.count_nonzero(missing))
        if bad == array.size:
            raise DataError(f"{who} has only NaN or infinite voxels; write it again")
        low = np.min(array, initial=np.inf, where=finite)
        high = np.max(array, initial=-np.inf, where=finite)
        array = np.where(finite, array, low)
        notices = (f"{who}: {bad} NaN or infinite voxels lie outside of it",)
    if low == high and not constant:
        raise DataError(f"{who} is constant ({low:g} everywhere): there is nothing to register; give another file")
    return Cleaned(array, missing, notices)


def clean_ids(array: NDArray[Any], who: str) -> Cleaned | None:
    """The ids of a label map: NaN and infinity are background, what a slope left beside whole numbers is rounded.

    Args:
        array: any shape, real.
        who: role and name, for the message.

    Returns:
        with nothing missing; None where there are fractions, which are no ids.

    Raises:
        DataError: nothing is finite.

    Example:
        >>> clean_ids(np.array([np.nan, 2.00001, 1.0]), "label a.nii").array
        array([0., 2., 1.])
    """
    array, missing, _ = clean_values(array, who, constant=True)
    notices: tuple[str, ...] = ()
    if missing is not None:
        array = np.where(missing, array.dtype.type(0), array)
        notices = (f"{who}: {int(missing.sum())} NaN or infinite voxels are background, 0",)
    ids = whole_ids(array)
    if ids is None:
        return None
    if ids.moved:
        notices += (f"{who}: ids up to {ids.moved:.1g} off whole numbers, as a slope leaves them; rounded",)
    return Cleaned(ids.array, None, notices)
