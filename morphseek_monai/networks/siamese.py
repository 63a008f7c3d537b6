"""Siamese convolutional encoder: moving and fixed through the same weights (CorrMLP, NICE-Trans)."""

from typing import List, Sequence, Tuple

import torch
from torch import Tensor, nn


class InstanceNorm(nn.Module):
    """Instance normalisation without weights that lets a map of one voxel pass as it is.

    The variance of a single voxel is zero, so ``torch.nn.InstanceNorm3d`` refuses it, and dividing would leave zeros.
    An image exactly one stride wide has such a map at its deepest level. Any other size is normalised bit for bit as
    ``torch.nn.InstanceNorm3d`` does it.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``(B, C, D, H, W)`` over space."""
        if x.shape[2] * x.shape[3] * x.shape[4] == 1:
            return x
        return nn.functional.instance_norm(x)


def conv_norm_block(in_channels: int, out_channels: int) -> nn.Sequential:
    """Two times 3x3x3 convolution, LeakyReLU(0.2) and instance normalisation (after the activation, as published)."""
    layers: List[nn.Module] = []
    for channels in (in_channels, out_channels):
        layers += [nn.Conv3d(channels, out_channels, 3, padding=1), nn.LeakyReLU(0.2), InstanceNorm()]
    return nn.Sequential(*layers)


class SiameseEncoder(nn.Module):
    """Features of both images at 1, 1/2, 1/4, ..., from one set of weights: a block per level, average pooling between.

    Args:
        channels: channels of the levels, finest first. ``(8, 16, 32, 64)`` has 219,912 parameters (CorrMLP),
            one more level of 128 makes 883,720 (NICE-Trans).
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(conv_norm_block(a, b) for a, b in zip((1, *channels[:-1]), channels))
        self.pool = nn.AvgPool3d(2)

    def forward(self, moving: Tensor, fixed: Tensor) -> Tuple[List[Tensor], List[Tensor]]:
        """Encode ``(B, 1, D, H, W)`` each, in one pass of batch 2 B.

        Returns:
            Features of moving and features of fixed, both finest first.
        """
        x = torch.cat([moving, fixed])
        moving_features: List[Tensor] = []
        fixed_features: List[Tensor] = []
        for level, block in enumerate(self.blocks):
            if level > 0:
                x = self.pool(x)
            x = block(x)
            moving_features.append(x[: moving.shape[0]])
            fixed_features.append(x[moving.shape[0] :])
        return moving_features, fixed_features
