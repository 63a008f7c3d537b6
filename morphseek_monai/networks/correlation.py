"""Local correlation of two feature maps, the matching cost of optical-flow networks (Dosovitskiy et al., ICCV 2015)."""

from typing import List

import torch
from torch import Tensor, nn


def local_correlation(first: Tensor, second: Tensor, radius: int = 1) -> Tensor:
    """Mean product over the channels of ``first(x)`` and ``second(x + d)``, for each small displacement ``d``.

    Args:
        first: features ``(B, C, D, H, W)``.
        second: features of the same shape; zero beyond the border.
        radius: largest displacement along an axis, in voxels.

    Returns:
        ``(B, (2 radius + 1)^3, D, H, W)``; ``d`` runs from ``-radius`` to ``radius``, fastest along W.

    Example:
        >>> features = torch.ones(1, 8, 4, 4, 4)
        >>> local_correlation(features, 3 * features)[0, [0, 13, 26], 0, 0, 0]  # d = -1 leaves the corner
        tensor([0., 3., 3.])
    """
    n, depth, height, width = 2 * radius + 1, first.shape[2], first.shape[3], first.shape[4]
    # a view (B, C, D + 2r, H + 2r, n, W): three displacements at once make a third of the operations, and a product of
    # n C channels is no larger than what the convolution behind it reads
    padded = nn.functional.pad(second, [radius] * 6).unfold(4, width, 1)
    first = first.unsqueeze(4)
    costs: List[Tensor] = []
    for i in range(n):
        rows = padded[:, :, i : i + depth]
        for j in range(n):
            costs.append((first * rows[:, :, :, j : j + height]).mean(1))
    return torch.cat(costs, dim=3).permute(0, 3, 1, 2, 4)
