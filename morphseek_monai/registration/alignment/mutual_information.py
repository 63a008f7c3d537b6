"""Mutual information of two images at some points, with its derivative by the place of each point.

D. Mattes et al., PET-CT image registration in the chest using free-form deformations, IEEE TMI 22(1), 2003: no common
contrast is needed; cubic Parzen windows make it smooth. Where points fall beyond the moving image they count less and
less, and the information is counted over *all* points: to lose overlap is to lose information, so that two matching
corners do not win over two matching heads, and nothing is taken for air that nobody has seen.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphseek_monai.space.image import Image

from .reading import read

__all__ = ["MutualInformation"]

Array = NDArray[Any]

BINS = 32
EDGE = 2  # bins beyond either end, for the windows


class MutualInformation:
    """Mutual information of a fixed image's values at some points and a moving image.

    Args:
        fixed: the fixed image, intensities in [0, 1].
        moving: the moving image, alike.
        points: positions in the fixed image ``(3, N)``.

    Attributes:
        points: those of the arguments.
        moving: the moving image.
    """

    def __init__(self, fixed: Image, moving: Image, points: Array) -> None:
        reading = read(fixed, points)
        self.points = points
        self.moving = moving
        self._rows = np.rint(reading.value.clip(0, 1) * (BINS - 1)).astype(np.int32)
        self._trust = reading.weight
        self._total = max(float(reading.weight.sum()), 1e-12)

    def __call__(self, places: Array) -> tuple[float, Array, float]:
        """Compare the fixed points with the moving image at some places.

        Args:
            places: ``(3, N)``, where the fixed points lie in the moving image.

        Returns:
            the information in nats per fixed point, its derivative by ``places`` ``(3, N)``, and the overlap, the share
            of the points that fall into the moving image.
        """
        reading = read(self.moving, places)
        weight = self._trust * reading.weight
        overlap = float(weight.sum()) / self._total
        if overlap <= 1e-6:
            return 0.0, np.zeros_like(places), 0.0
        shape = (BINS, BINS + 2 * EDGE)
        position = np.minimum(np.maximum(reading.value, 0), 1) * np.float32(BINS - 1) + np.float32(EDGE)
        low = position.astype(np.int32) - 1
        windows, slopes = _parzen(position - low - 1)
        cells = self._rows * shape[1] + low
        counts = np.zeros(shape[0] * shape[1])
        for k, window in enumerate(windows):
            counts += np.bincount(cells + k, weight * window, minlength=counts.size)
        joint = counts.reshape(shape) / counts.sum()
        rows, columns = joint.sum(1, keepdims=True), joint.sum(0, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = np.where(joint > 0, np.log(joint / (rows * columns)), 0.0)
        information = float((joint * gain).sum()) * overlap
        flat = gain.ravel().astype(np.float32)
        at = [flat.take(cells + k) for k in range(4)]
        by_value = (
            sum(slope * value for slope, value in zip(slopes, at)) * weight * np.float32((BINS - 1) / self._total)
        )
        slope = by_value * reading.slope
        if overlap < 1:
            by_weight = (
                sum(window * value for window, value in zip(windows, at)) * self._trust / np.float32(self._total)
            )
            slope += by_weight * reading.weight_slope
        return information, slope, overlap


def _parzen(t: Array) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """The four cubic B-splines that reach a value ``t`` of the way between two bins, and their derivatives."""
    s = 1 - t
    tt, ss = t * t, s * s
    third = np.float32(2 / 3)
    windows = ss * s / 6, third - tt * (1 - t / 2), third - ss * (1 - s / 2), tt * t / 6
    slopes = -ss / 2, t * (1.5 * t - 2), -s * (1.5 * s - 2), tt / 2
    return windows, slopes
