"""How far off a displacement probably is, in mm, from what the registration leaves unlike."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morphseek_monai.inference.similarity import signed_correlation

WINDOW = 3  # voxels: larger ones look past the boundary that is to be judged
LEAST = 1e-3  # of the share that is unexplained; noise alone leaves more
# fitted to the `tune` pairs of real hippocampi and of silver-labelled brains: docs/benchmarks/uncertainty.md
FACTOR = 0.94  # voxels: the error where nothing agrees
EXPONENT = 0.18

Map = TypeVar("Map", Tensor, NDArray[Any])


@torch.no_grad()
def agreement(fixed: Tensor, warped: Tensor, seen: Tensor | None = None) -> Tensor:
    """Squared correlation of the images around each voxel, in cubes of three voxels.

    Args:
        fixed: ``(1, C, D, H, W)`` in [0, 1]; of several contrasts the mean is taken.
        warped: the moving image after the registration, same shape.
        seen: ``(1, 1, D, H, W)``, 1 where both images were scanned and count, else 0; None means everywhere.

    Returns:
        ``(1, 1, D, H, W)``, 0 to 1. 1: each image is a linear function of the other; 0 where either is flat or unseen.
    """
    mean = torch.zeros_like(fixed[:, :1])
    for one, other in zip(fixed[0, :, None], warped[0, :, None]):  # one at a time, for the memory
        mean[0] += signed_correlation(one, other, WINDOW).abs() / fixed.shape[1]
    mean.clamp_(max=1)
    return mean if seen is None else mean * seen


def expected_error(agreement: Map, spacing: Any) -> Map:
    """Expected distance between where a boundary was put and where it belongs.

    ``FACTOR * s * (1 - agreement) ** EXPONENT``, with ``s`` the geometric mean of the spacing: errors come to about
    half a voxel in anatomies of every size, and to more where the images still disagree.

    Args:
        agreement: as :func:`agreement` gives it, an array or a tensor of any shape.
        spacing: ``(3,)`` mm, of the voxels that the agreement was found on.

    Returns:
        mm, in the shape and type of ``agreement``.

    Raises:
        ValueError: When ``spacing`` is not three positive numbers.

    Example:
        >>> expected_error(np.array([0.0, 0.9]), [2.0, 2.0, 2.0]).round(2).tolist() == [
        ...     round(2 * FACTOR * (share + LEAST) ** EXPONENT, 2) for share in (1.0, 0.1)
        ... ]
        True
    """
    if len(spacing) != 3 or min(spacing) <= 0:
        raise ValueError(f"expected_error() 'spacing' must be three positive numbers in mm, got {list(spacing)}")
    size = float(np.prod(np.asarray(spacing, dtype=float)) ** (1 / 3))
    unexplained: Map = 1 - agreement + LEAST
    return FACTOR * size * unexplained**EXPONENT
