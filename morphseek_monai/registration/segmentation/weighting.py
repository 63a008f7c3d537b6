"""How much an atlas' vote counts at a voxel: by how well its image agrees with the scan around it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from morphseek_monai.inference.image_forces import FLOOR, window_means
from morphseek_monai.inference.similarity import contrasts_differ

from ..alignment.body import prepared

__all__ = ["local_weights"]

# chosen on hippocampi that docs/benchmarks/segment.md does not report
RADIUS = 3  # voxels on either side
POWER = 4.0
PERFECT = 0.02  # added to the distance: nobody is infinitely right


def local_weights(
    image: NDArray[Any], warped: NDArray[Any], radius: int = RADIUS, power: float = POWER
) -> NDArray[np.float32]:
    """Inverse distance of two images around each voxel, the distance being 1 less their local correlation.

    That is half the mean squared difference of the two patches, each brought to the mean 0 and the variance 1, so that
    neither bias fields nor scanners count; the inverse power of local weighting (X. Artaechevarria et al., Combination
    strategies in multi-atlas image segmentation, IEEE TMI 28(8), 2009). Where nothing can be seen the correlation is 0,
    and all atlases count alike. Of images with unlike contrasts (T1 and T2) the sign of the correlation does not count.

    Args:
        image: the scan ``(X, Y, Z)``.
        warped: the image of the atlas on the grid of the scan.
        radius: of the cubic patch in voxels.
        power: of the inverse distance; 0 is the majority vote.

    Returns:
        ``(X, Y, Z)``, above 0.

    Example:
        >>> scan = np.random.default_rng(0).random((12, 12, 12))
        >>> bool(local_weights(scan, 2 * scan).min() > 100 * local_weights(scan, scan[::-1]).mean())
        True
    """
    fixed, moving = (torch.from_numpy(prepared(array, np.eye(4), None).array) for array in (image, warped))
    window = [min(2 * radius + 1, n - 1 + n % 2) for n in fixed.shape]  # odd
    maps = torch.stack([fixed, moving, fixed * fixed, moving * moving, fixed * moving])
    mean, other, square, other_square, product = window_means(maps, window)
    variances = ((square - mean**2).clamp_min(0) + FLOOR) * ((other_square - other**2).clamp_min(0) + FLOOR)
    correlation = (product - mean * other) / variances.sqrt()
    if contrasts_differ(fixed[None, None], moving[None, None]):
        correlation = correlation.abs()
    weights: NDArray[np.float32] = (1 + PERFECT - correlation).pow(-power).numpy()
    return weights
