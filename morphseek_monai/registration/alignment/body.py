"""What an alignment takes for the body in an image: where it is seen at all, its mass, its size, points in it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from morphseek_monai.space.image import Image

__all__ = ["centre_of_mass", "prepared", "random_points", "relative_size"]

Array = NDArray[Any]

# voxels around the body that are compared too: without them nothing holds its surface in place; all of the air
# around it would count the surface alone (labels of brains overlap less then)
MARGIN = 2
OUTLIERS = 0.1  # percent of the voxels at either end that do not set the range of intensities
SHARED = 0.1  # of the voxels next to a constant border: more have its value where it is air and no padding


def prepared(array: Array, affine: Array, mask: Array | None) -> Image:
    """An image in [0, 1] from its darkest to its brightest, but for outliers; a constant border is masked.

    Args:
        array: ``(X, Y, Z)``, any range.
        affine: ``(4, 4)``, voxel -> position.
        mask: ``(X, Y, Z)``, where the array is valid; None for everywhere.
    """
    valid = _within_border(array)
    if mask is not None:
        valid = mask.astype(np.float32) if valid is None else (mask * valid).astype(np.float32)
    values = array if valid is None else array[valid > 0]
    low, high = np.percentile(values, [OUTLIERS, 100 - OUTLIERS])
    if high <= low:
        low, high = values.min(), values.max()
    scaled = (array.astype(np.float32) - np.float32(low)) / np.float32(max(high - low, 1e-30))
    return Image(scaled.clip(0, 1), affine, valid)


def random_points(volume: Image, count: int, generator: np.random.Generator, everywhere: bool = False) -> Array:
    """Random points ``(3, N)`` float32 in the body and close to its surface.

    Every point lies somewhere in its voxel: on the voxels themselves the values would be sharper than the interpolated
    ones of another image, and mutual information would rather keep two equal grids on each other than two heads.

    Args:
        volume: the image. Its body is what differs from the background by more than a quarter of the mean difference,
            with all that this encloses.
        count: how many, from as many voxels; all voxels where they are fewer.
        generator: of everything random.
        everywhere: take the whole image for the body.
    """
    near = np.ones(volume.array.shape, dtype=bool)
    if not everywhere:
        near = ndimage.binary_dilation(ndimage.binary_fill_holes(_body(volume)), iterations=MARGIN)
    if volume.mask is not None:
        near &= volume.mask > 0.5
    voxels = generator.permutation(np.argwhere(near))[:count]
    points = volume.position(voxels + generator.uniform(-0.5, 0.5, voxels.shape))
    return np.ascontiguousarray(points.T, dtype=np.float32)


def centre_of_mass(volume: Image) -> Array:
    """Mean position ``(3,)`` weighted by the difference from the background."""
    mass = _mass(volume)
    return volume.position(np.array(ndimage.center_of_mass(mass))) if mass.any() else volume.centre


def relative_size(fixed: Image, moving: Image) -> float:
    """How many times as large the moving image's body is; 1 unless it is larger, or smaller, along all three axes.

    Sorted lengths are compared, as either image may be turned; a slab of the same body is as wide as it.
    """
    ratio = np.sort(_lengths(moving)) / np.sort(_lengths(fixed))
    return float(max(ratio.min(), 1.0) * min(ratio.max(), 1.0))


def _lengths(volume: Image) -> Array:
    body = _body(volume)
    if not body.any():
        return volume.extent
    lengths: Array = volume.spacing * (np.ptp(np.argwhere(body), axis=0) + 1)
    return lengths


def _mass(volume: Image) -> Array:
    """How far each voxel is from the background, the median of the image's outermost voxels."""
    outer = np.concatenate([volume.array.take(end, axis).ravel() for axis in range(3) for end in (0, -1)])
    mass: Array = np.abs(volume.array - np.median(outer))
    if volume.mask is not None:
        mass = mass * volume.mask
    return mass


def _body(volume: Image) -> NDArray[np.bool_]:
    mass = _mass(volume)
    some = mass[mass > mass.mean() / 8]
    body: NDArray[np.bool_] = mass > (some.mean() / 4 if some.size else 0)
    return body


def _within_border(array: Array) -> NDArray[np.float32] | None:
    """1 within a border of one value that its neighbours do not have, 0 on it; None without such a border."""
    border = array == array[0, 0, 0]
    other = np.argwhere(~border)
    low, high = other.min(0), other.max(0) + 1
    if (high - low == array.shape).all() or (high - low < 3).any():
        return None
    box = border[tuple(slice(start, stop) for start, stop in zip(low, high))]
    faces = np.concatenate([box.take(end, axis).ravel() for axis in range(3) for end in (0, -1)])
    if faces.mean() > SHARED:  # air all around
        return None
    valid = np.zeros(array.shape, dtype=np.float32)
    # resampling blends the border with its neighbours
    valid[tuple(slice(start + (start > 0), stop - (stop < n)) for start, stop, n in zip(low, high, array.shape))] = 1
    return valid
