"""How well two images agree, without labels: one number for MR, CT and pairs of both."""

from __future__ import annotations

import torch
from torch import Tensor

from morphseek_monai.inference.image_forces import FLOOR, window_means
from morphseek_monai.losses import LNCCLoss

WINDOW = 9
SIGN_WINDOW = 5
NEGATIVE = 0.25  # share of negatively correlated windows; T1 pairs have 0.05, T1 and T2 more than a half
FOREGROUND = 0.1  # of the prepared intensities, which are in [0, 1]; noise in the air stays below


def local_correlation(fixed: Tensor, warped: Tensor, mask: Tensor | None = None, window: int = WINDOW) -> Tensor:
    """Mean squared local correlation, from 0 (unrelated) to 1 (locally linear functions of each other).

    Squared, so that inverted contrast (T1 and T2, MR and CT) counts as agreement, as in ANTs' CC metric; local, so that
    bias fields do not count.

    Args:
        fixed: ``(1, C, D, H, W)``; of several contrasts the mean is taken.
        warped: ``(B, C, D, H, W)``, several candidates for the same fixed image.
        mask: which windows count, by their centres, ``(1, 1, D, H, W)`` bool; None counts all.
        window: edge of the cubic window in voxels.

    Returns:
        ``(B,)``.

    Example:
        >>> image = torch.rand(1, 1, 16, 16, 16)
        >>> inside = torch.zeros(1, 1, 16, 16, 16, dtype=torch.bool)
        >>> inside[..., 4:12, 4:12, 4:12] = True  # windows at the border see zeros beyond it
        >>> round(local_correlation(image, 1 - image, inside).item(), 2)
        1.0
    """
    loss = LNCCLoss(window)
    with torch.no_grad():
        return torch.stack([-loss(item[None], fixed, mask) for item in warped])


def foreground(fixed: Tensor) -> Tensor:
    """Where a prepared image ``(1, 1, D, H, W)`` is foreground: brighter than 10 % of its range, bool."""
    return fixed > FOREGROUND


def contrasts_differ(fixed: Tensor, warped: Tensor, where: Tensor | None = None) -> bool:
    """Whether bright in one image is dark in the other at many places, as in T1 and T2.

    Args:
        fixed: ``(1, 1, D, H, W)``, prepared.
        warped: same shape, roughly aligned.
        where: to look, same shape, bool; None takes the :func:`foreground` of ``fixed``.

    Returns:
        whether the squared local correlation comes to more than a quarter from windows that are correlated negatively.

    Example:
        >>> image = torch.rand(1, 1, 16, 16, 16)
        >>> contrasts_differ(image, 0.5 * image), contrasts_differ(image, 1 - image)
        (False, True)
    """
    signed = signed_correlation(fixed[0], warped[0], SIGN_WINDOW)
    signed = signed * (foreground(fixed) if where is None else where)[0]
    return bool(-signed.clamp(max=0).sum() > NEGATIVE * signed.abs().sum())


def signed_correlation(fixed: Tensor, warped: Tensor, window: int) -> Tensor:
    """Squared correlation of two images around each voxel, with the sign of the correlation.

    Args:
        fixed: ``(C, D, H, W)``, intensities of order 1: variances far below 1e-4 count as noise.
        warped: same shape.
        window: edge of the cubic window in voxels, odd; the edge of the grid is repeated.

    Returns:
        ``(C, D, H, W)``, -1 to 1; 0 where either image is flat.
    """
    edges = (window, window, window)
    f, w = (window_means(image, edges) for image in (fixed, warped))
    variances = [
        (window_means(image * image, edges) - mean * mean).clamp_min_(0).add_(FLOOR)
        for image, mean in ((fixed, f), (warped, w))
    ]
    covariance = window_means(fixed * warped, edges) - f * w
    return covariance * covariance.abs() / (variances[0] * variances[1])
