"""Squared local correlation of two images at some patches, with its derivative by the place of each of their points.

Sharper than mutual information where contrasts match, or are inverted: B. Avants et al., Symmetric diffeomorphic image
registration with cross-correlation, Medical Image Analysis 12(1), 2008.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphseek_monai.space.image import Image

from .reading import read

__all__ = ["PatchCorrelation", "normalised"]

Array = NDArray[Any]

RADIUS = 2  # voxels on either side of a patch's middle: five along
LEAST_SPREAD = 1e-4  # variance of a patch, of intensities in [0, 1], below which it is noise


class PatchCorrelation:
    """Mean squared correlation of patches of a fixed image and the places where a map puts them in a moving image.

    Args:
        fixed: the fixed image, intensities in [0, 1].
        moving: the moving image, alike.
        middles: of the patches, positions in the fixed image ``(3, K)``; a patch is 5 x 5 x 5 points, a voxel of
            ``fixed`` apart.

    Attributes:
        points: of all patches ``(3, K * 125)``.
    """

    def __init__(self, fixed: Image, moving: Image, middles: Array) -> None:
        offsets = np.array(list(product(range(-RADIUS, RADIUS + 1), repeat=3))) @ fixed.affine[:3, :3].T
        self.points = (middles[:, :, None] + offsets.T[:, None, :]).reshape(3, -1).astype(np.float32)
        self._moving = moving
        self._patches = middles.shape[1], len(offsets)
        reading = read(fixed, self.points)
        self._trust = reading.weight.reshape(self._patches)
        self._fixed = reading.value.reshape(self._patches)

    def __call__(self, places: Array) -> tuple[float, Array]:
        """Compare the patches with the moving image.

        Args:
            places: ``(3, K * 125)``, where the points of the patches lie in the moving image.

        Returns:
            mean squared correlation in [0, 1], and its derivative by ``places``, ``(3, K * 125)``. Patches of which the
            moving image sees little count little.
        """
        reading = read(self._moving, places)
        weight = self._trust * reading.weight.reshape(self._patches)
        share = weight.mean(1, keepdims=True)
        one, norm = normalised(self._fixed, weight)
        other, norm_other = normalised(reading.value.reshape(self._patches), weight)
        correlation = (weight * one * other).sum(1, keepdims=True)
        total = max(float(share.sum(dtype=np.float64)), 1e-12)
        value = float((share * correlation**2).sum(dtype=np.float64)) / total
        slope = 2 * share / total * correlation * weight * (one - correlation * other) / norm_other
        return value, slope.ravel() * reading.slope


def normalised(values: Array, weight: Array) -> tuple[Array, Array]:
    """Values ``(K, N)`` less their weighted mean, over their norm, and that norm ``(K, 1)``."""
    total = weight.sum(1, keepdims=True) + np.float32(1e-6)
    centred = values - (weight * values).sum(1, keepdims=True) / total
    norm = np.sqrt((weight * centred * centred).sum(1, keepdims=True) + np.float32(LEAST_SPREAD) * total)
    return centred / norm, norm
