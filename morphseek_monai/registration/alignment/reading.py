"""An image made coarser, and read between its voxels with the slope of what is read."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from morphseek_monai.space.image import Image

__all__ = ["Reading", "combine", "read", "shrink"]

Array = NDArray[Any]

THINNEST = 8  # voxels that shrinking leaves along an axis


class Reading(NamedTuple):
    """What :func:`read` finds at ``N`` points.

    Attributes:
        value: intensity ``(N,)``; beyond the image that of its nearest voxel.
        slope: derivative of ``value`` by position ``(3, N)``, per unit of length.
        weight: how far the point lies in the image and its mask ``(N,)``, 1 inside, 0 a voxel beyond.
        weight_slope: derivative of ``weight`` by position ``(3, N)``.
    """

    value: Array
    slope: Array
    weight: Array
    weight_slope: Array


def shrink(image: Image, spacing: float) -> Image:
    """Smooth and keep every n-th voxel, so that voxels are about ``spacing`` apart; never refines.

    Args:
        image: of any kind.
        spacing: wanted. Thin slabs keep at least eight voxels along an axis.
    """
    size = np.array(image.array.shape)
    factors = np.maximum(1, np.minimum(np.rint(spacing / image.spacing).astype(int), size // THINNEST))
    sigma = np.where(factors > 1, 0.5 * factors, 0.0)
    first = (size - 1) % factors // 2
    kept = tuple(slice(start, None, stride) for start, stride in zip(first, factors))
    affine = image.affine.copy()
    affine[:3, :3] *= factors
    affine[:3, 3] = image.position(first)
    if image.mask is None:
        return Image(ndimage.gaussian_filter(image.array, sigma, mode="nearest")[kept], affine)
    # what is not valid lends its neighbours nothing
    share = ndimage.gaussian_filter(image.mask, sigma, mode="nearest")
    smooth = ndimage.gaussian_filter(image.array * image.mask, sigma, mode="nearest") / np.maximum(share, 1e-3)
    return Image(smooth[kept], affine, (share[kept] * (share[kept] > 0.5)).astype(np.float32))


def read(image: Image, points: Array) -> Reading:
    """Interpolate linearly at positions ``(3, N)``; beyond the image its nearest voxel counts, with weight 0."""
    inverse = np.linalg.inv(image.affine).astype(np.float32)
    voxels = combine(inverse, points)
    voxels += inverse[:3, 3:]
    top = np.array(image.array.shape, np.float32)[:, None] - 1
    inside = np.minimum(np.maximum(voxels, 0), top)
    low = np.minimum(inside.astype(np.int32), np.maximum(top.astype(np.int32) - 1, 0))
    corner = (low[0] * image.array.shape[1] + low[1]) * image.array.shape[2] + low[2]
    fraction = inside - low
    value, slope = _interpolate(image.array, corner, fraction)
    beyond = voxels - inside
    weight, weight_slope = np.ones_like(value), np.zeros_like(voxels)
    if beyond.any():
        within = beyond == 0
        slope *= within
        share = np.maximum(1 - np.abs(beyond), 0)
        weight = share[0] * share[1] * share[2]
        falling = -np.sign(beyond) * (share > 0)
        weight_slope = falling * np.stack([share[1] * share[2], share[2] * share[0], share[0] * share[1]])
        if image.mask is not None:
            valid, valid_slope = _interpolate(image.mask, corner, fraction)
            weight_slope = weight_slope * valid + weight * valid_slope * within
            weight = weight * valid
    elif image.mask is not None:
        weight, weight_slope = _interpolate(image.mask, corner, fraction)
    turned = np.ascontiguousarray(inverse[:3, :3].T)
    return Reading(value, combine(turned, slope), weight, combine(turned, weight_slope))


def combine(matrix: NDArray[Any], rows: NDArray[Any]) -> NDArray[Any]:
    """``matrix[:3, :3] @ rows`` for rows ``(3, N)``, without BLAS, whose bits depend on its number of threads."""
    x, y, z = rows
    found = np.empty_like(rows)
    for i in range(3):
        found[i] = matrix[i, 0] * x + matrix[i, 1] * y + matrix[i, 2] * z
    return found


def _interpolate(array: NDArray[np.float32], corner: NDArray[np.int32], fraction: Array) -> tuple[Array, Array]:
    """Values ``(N,)`` and slopes per voxel ``(3, N)`` at ``fraction`` ``(3, N)`` of the way from ``corner``."""
    flat = np.ascontiguousarray(array).ravel()
    strides = [math.prod(array.shape[axis + 1 :]) * (n > 1) for axis, n in enumerate(array.shape)]
    x, y, z = fraction
    # along the last axis first, then the middle, then the first
    lines, rises = [], []
    for i in (0, strides[0]):
        for j in (0, strides[1]):
            one = flat.take(corner + (i + j))
            rise = flat.take(corner + (i + j + strides[2])) - one
            rises.append(rise)
            lines.append(one + z * rise)
    across = lines[1] - lines[0], lines[3] - lines[2]
    sides = lines[0] + y * across[0], lines[2] + y * across[1]
    along = rises[0] + y * (rises[1] - rises[0]), rises[2] + y * (rises[3] - rises[2])
    rise = sides[1] - sides[0]
    slopes = rise, across[0] + x * (across[1] - across[0]), along[0] + x * (along[1] - along[0])
    return sides[0] + x * rise, np.stack(slopes)
