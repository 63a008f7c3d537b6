"""The rigid map from one volume of a series to another: the contrast is the same, and plain correlation serves."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from morphseek_monai.space.grid import Grid
from morphseek_monai.space.image import Image

from ..alignment.align import unit_axes
from ..alignment.body import prepared, random_points
from ..alignment.linear_map import ascend, transformed
from ..alignment.patch_correlation import normalised
from ..alignment.reading import read, shrink

__all__ = ["RigidSearch"]

Array = NDArray[np.float64]

SMOOTH = 1.0  # voxels: noise, and what interpolation makes of it, count for little then
POINTS = 20000  # of the body; four times as many find the same to a hundredth of a millimetre
ITERATIONS = 40


class _Level(NamedTuple):
    """The reference at one resolution: where it is compared, and its values there."""

    spacing: float | None
    step: float
    points: NDArray[np.float32]
    values: NDArray[Any]
    trust: NDArray[Any]


class RigidSearch:
    """Finds the rigid maps from one reference to many volumes on the same grid.

    The correlation of both images over random points of the body is followed by L-BFGS, at twice the voxel size and at
    the voxel size. It does not mind a drift of all intensities.

    Args:
        reference: ``(X, Y, Z)``.
        grid: of the reference and of all volumes.
        mask: ``(X, Y, Z)`` bool, where the volumes have values; None for everywhere.
        seed: of the points.
    """

    def __init__(
        self, reference: NDArray[Any], grid: Grid, mask: NDArray[np.bool_] | None = None, seed: int = 0
    ) -> None:
        self._axes = unit_axes(grid, grid)
        self._affine = np.linalg.inv(self._axes) @ grid.affine
        self._mask = mask
        generator = np.random.default_rng(seed)
        fine = self._prepared(reference)
        voxel = float(fine.spacing.max())
        self._levels = []
        for spacing, count in ((2 * voxel, POINTS // 4), (None, POINTS)):
            image = fine if spacing is None else shrink(fine, spacing)
            points = random_points(image, count, generator)
            reading = read(image, points)
            self._levels.append(
                _Level(spacing, spacing or voxel / 2, points, reading.value[None], reading.weight[None])
            )
        self._centre = self._levels[-1].points.mean(1, dtype=np.float64)

    def find(self, volume: NDArray[Any], starts: Sequence[Array]) -> tuple[Array, float]:
        """The map of one volume.

        Args:
            volume: ``(X, Y, Z)``.
            starts: ``(4, 4)`` each, RAS mm, from which the best begins.

        Returns:
            ``(4, 4)``, RAS mm, points of the reference -> points of the volume, and the correlation there; never less
            than at any of the starts.
        """
        fine = self._prepared(volume)
        last = self._levels[-1]
        maps = [np.linalg.inv(self._axes) @ start @ self._axes for start in starts]
        known = [_correlation(last, fine, transformed(last.points, one))[0] for one in maps]
        best = maps[int(np.argmax(known))]
        found = best
        for level in self._levels:
            image = fine if level.spacing is None else shrink(fine, level.spacing)
            found = ascend(
                partial(_correlation, level, image), level.points, found, "rigid", self._centre, level.step, ITERATIONS
            )
        value = _correlation(last, fine, transformed(last.points, found))[0]
        if value < max(known):  # led astray at the coarse level
            found, value = best, max(known)
        return self._axes @ found @ np.linalg.inv(self._axes), value

    def _prepared(self, volume: NDArray[Any]) -> Image:
        image = prepared(volume, self._affine, self._mask)
        return image._replace(array=ndimage.gaussian_filter(image.array, SMOOTH, mode="nearest"))


def _correlation(level: _Level, image: Image, places: NDArray[np.float32]) -> tuple[float, NDArray[np.float32]]:
    """Correlation of the reference and an image at some places ``(3, N)``, and its derivative by these."""
    reading = read(image, places)
    weight = level.trust * reading.weight
    one, _ = normalised(level.values, weight)
    other, norm = normalised(reading.value[None], weight)
    value = float((weight * one * other).sum(dtype=np.float64))
    slope = weight * (one - np.float32(value) * other) / norm
    return value, slope.ravel() * reading.slope
