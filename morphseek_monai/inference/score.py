"""What the tool ranks fields by when there are no labels: local correlation less folding."""

from __future__ import annotations

import torch
from torch import Tensor

from morphseek_monai.fields import njd_percent, warp
from morphseek_monai.inference.similarity import foreground, local_correlation

FOLDING_WEIGHT = 1.0  # a percent of folded voxels counts as much as a percent of correlation


def check_pair(pair: Tensor, function: str) -> None:
    """Refuse what is not one pair.

    Raises:
        ValueError: When ``pair`` is not ``(1, 2, D, H, W)``.
    """
    if pair.ndim != 5 or pair.shape[:2] != (1, 2):
        raise ValueError(
            f"{function}() 'pair' must be (1, 2, D, H, W), moving and fixed, got {tuple(pair.shape)}; "
            "pass one pair at a time"
        )


@torch.no_grad()
def label_free_score(pair: Tensor, ddf: Tensor, folding_weight: float = FOLDING_WEIGHT) -> Tensor:
    """Score of candidate fields of one pair: :func:`local_correlation` in the fixed foreground less the folded share.

    Args:
        pair: ``(1, 2, D, H, W)``, moving and fixed, intensities in [0, 1].
        ddf: candidates ``(B, 3, D, H, W)`` in voxels.
        folding_weight: what the share of folded voxels, from 0 to 1, is multiplied by.

    Returns:
        ``(B,)``, at most 1; higher is better.

    Raises:
        ValueError: When ``pair`` is not one pair.

    Example:
        >>> image = torch.rand(1, 1, 16, 16, 16)
        >>> round(label_free_score(torch.cat([image, image], dim=1), torch.zeros(1, 3, 16, 16, 16)).item(), 3)
        1.0
    """
    check_pair(pair, "label_free_score")
    moving, fixed = pair[:, :1], pair[:, 1:]
    similarity = local_correlation(fixed, warp(moving, ddf), foreground(fixed))
    return similarity - folding_weight * njd_percent(ddf) / 100
