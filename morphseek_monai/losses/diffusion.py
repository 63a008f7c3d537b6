"""Diffusion regulariser of displacement fields, in VoxelMorph's form."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DiffusionLoss(nn.Module):
    """Mean squared forward difference of a displacement field, averaged over the three axes.

    ``(1 / 3) * sum_axis mean((u(x + e_axis) - u(x))**2)`` in voxels squared. This is the form of VoxelMorph
    and TransMorph, on which published weights rest. ``monai.losses.DiffusionLoss`` is a different quantity:
    central differences, *summed* over the axes, hence three times as large on a linear field; weights do not
    carry over.

    Source: Balakrishnan et al., "VoxelMorph", IEEE TMI 2019, https://arxiv.org/abs/1809.05231, eq. 7.

    Example:
        >>> ddf = torch.zeros(1, 3, 4, 4, 4)
        >>> ddf[:, 0] = torch.arange(4.0).view(4, 1, 1)  # u_0 = x_0: one of nine partial derivatives is 1
        >>> round(DiffusionLoss()(ddf).item(), 4)
        0.1111
    """

    def forward(self, ddf: Tensor) -> Tensor:
        """Measure the roughness of ``ddf``.

        Args:
            ddf: displacement field ``(B, 3, D, H, W)`` in voxels.

        Returns:
            Scalar, at least 0; 0 for a translation.

        Raises:
            ValueError: When ``ddf`` is not ``(B, 3, D, H, W)`` with at least 2 voxels along each axis.
        """
        if ddf.ndim != 5 or ddf.shape[1] != 3 or min(ddf.shape[2:]) < 2:
            raise ValueError(
                "DiffusionLoss() 'ddf' must be (B, 3, D, H, W) with at least 2 voxels along each axis, "
                f"got {tuple(ddf.shape)}"
            )
        ddf = ddf.to(torch.promote_types(ddf.dtype, torch.float32))
        return torch.stack([ddf.diff(dim=axis).square().mean() for axis in (2, 3, 4)]).mean()
