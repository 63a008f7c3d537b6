"""Slices that do not lie evenly, brought to an even grid."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["SAME_PLACE", "even_slices"]

SAME_PLACE = 1e-3  # mm
UNEVEN = 0.01  # of the distance of two slices


def even_slices(
    array: NDArray[Any], affine: NDArray[np.float64], places: NDArray[np.float64], who: str
) -> tuple[NDArray[Any], NDArray[np.float64], tuple[str, ...]]:
    """Interpolate linearly between slices, so that each voxel lies where its affine says.

    Args:
        array: ``(X, Y, Z)`` or ``(X, Y, Z, T)``, slices in the order of ``places``.
        affine: ``(4, 4)`` voxel -> RAS mm, that takes the slices to be even between the first and the last.
        places: ``(Z,)`` mm along the normal of the slices, ascending or descending.
        who: role and name, for the notice.

    Returns:
        array, affine and notices; as they came where the slices are even. The new distance is the median one, as nearly
        as it divides the whole length.

    Example:
        >>> values = np.arange(3.0) * np.ones((2, 2, 1))
        >>> even, affine, _ = even_slices(values, np.diag([1.0, 1, 2, 1]), np.array([0.0, 3, 4]), "image a")
        >>> even[0, 0].round(2).tolist(), float(affine[2, 2])
        ([0.0, 0.67, 2.0], 2.0)
    """
    gaps = np.abs(np.diff(places))
    if len(gaps) == 0 or gaps.max() - gaps.min() <= UNEVEN * gaps.min():
        return array, affine, ()
    count = int(np.round(gaps.sum() / np.median(gaps))) + 1
    place = np.concatenate([[0.0], np.cumsum(gaps)])
    wanted = np.linspace(0, place[-1], count)
    after = np.clip(np.searchsorted(place, wanted, side="right"), 1, len(place) - 1)
    share = (wanted - place[after - 1]) / (place[after] - place[after - 1])
    share = share.reshape((1, 1, -1) + (1,) * (array.ndim - 3))
    values = (1 - share) * np.take(array, after - 1, axis=2) + share * np.take(array, after, axis=2)
    if array.dtype.kind in "iu":
        values = np.rint(values)
    even = affine.copy()
    even[:3, 2] *= (len(place) - 1) / (count - 1)
    notice = (
        f"{who}: its slices lie {gaps.min():g} to {gaps.max():g} mm apart, one may be missing; resampled to {count}"
        f" slices, one every {place[-1] / (count - 1):g} mm"
    )
    return values.astype(array.dtype), even, (notice,)
