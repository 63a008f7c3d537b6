"""Multi-window gated MLP and residual channel attention, the two halves of a CorrMLP block after its convolution.

The gated MLP is gMLP's (Liu et al., NeurIPS 2021, arXiv 2105.08050) on local windows, as in MAXIM (Tu et al., CVPR
2022, arXiv 2201.02973); branches are weighted as in Vision Permutator (Hou et al., TPAMI 2022, arXiv 2106.12368);
channel attention is RCAN's (Zhang et al., ECCV 2018, arXiv 1807.02758) in MAXIM's form.
"""

from typing import List, Sequence

import torch
from torch import Tensor, nn

from morphseek_monai.networks.swin import ChannelNorm, merge_windows, padding_to_windows, partition_windows


class SpatialMixing(nn.Module):
    """One linear map over the voxels of every ``window``^3 cube, shared by cubes and channels.

    The map is cut into cubes from its first voxel on; where a cube sticks out it is filled up with zeros.

    Args:
        window: edge length of the cubes, in voxels.
    """

    def __init__(self, window: int) -> None:
        super().__init__()
        self.window: List[int] = [window] * 3
        self.linear = nn.Linear(window**3, window**3)

    def forward(self, x: Tensor) -> Tensor:
        """Mix ``(B, D, H, W, C)`` within the windows."""
        depth, height, width = x.shape[1], x.shape[2], x.shape[3]
        padding = padding_to_windows([depth, height, width], self.window)
        x = nn.functional.pad(x, [0, 0, 0, padding[2], 0, padding[1], 0, padding[0]])
        size = [x.shape[1], x.shape[2], x.shape[3]]
        mixed = self.linear(partition_windows(x, self.window).transpose(1, 2)).transpose(1, 2)
        return merge_windows(mixed, self.window, size)[:, :depth, :height, :width]


class GatedMLP(nn.Module):
    """Residual gMLP block: half of the widened channels, mixed over windows, gates the other half.

    Args:
        channels: channels C.
        window: see :class:`SpatialMixing`.
    """

    def __init__(self, channels: int, window: int) -> None:
        super().__init__()
        self.widen = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, 2 * channels), nn.GELU())
        self.gate = nn.Sequential(nn.LayerNorm(channels), SpatialMixing(window))
        self.narrow = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Transform ``(B, D, H, W, C)``."""
        signal, gate = self.widen(x).chunk(2, dim=-1)
        mixed: Tensor = self.narrow(signal * (1.0 + self.gate(gate)))
        return x + mixed


class MultiWindowMLP(nn.Module):
    """Gated MLPs of several window sizes side by side, blended per channel by a softmax over the branches.

    Args:
        channels: channels C.
        windows: edge lengths of the windows, in voxels.
    """

    def __init__(self, channels: int, windows: Sequence[int]) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.branches = nn.ModuleList(GatedMLP(channels, window) for window in windows)
        self.weights = nn.Sequential(
            nn.Linear(channels, channels // 4), nn.GELU(), nn.Linear(channels // 4, len(windows) * channels)
        )
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Transform ``(B, D, H, W, C)``."""
        normed = self.norm(x).to(x.dtype)  # autocast returns float32 here, twice the size of every branch
        branches: List[Tensor] = []
        for branch in self.branches:
            branches.append(branch(normed))
        total = branches[0]
        for other in branches[1:]:
            total = total + other
        logits = self.weights(total.mean((1, 2, 3))).reshape(x.shape[0], len(branches), 1, 1, 1, x.shape[4])
        weights = torch.softmax(logits, dim=1).to(total.dtype)
        blend = weights[:, 0] * branches[0]
        for i, branch_output in enumerate(branches[1:]):
            blend = blend + weights[:, i + 1] * branch_output
        mixed: Tensor = self.out(blend)
        return x + mixed


class ChannelAttentionBlock(nn.Module):
    """Residual channel attention: two 3x3x3 convolutions, channels weighted by what they hold on average.

    Args:
        channels: channels C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            ChannelNorm(channels),
            nn.Conv3d(channels, channels, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv3d(channels, channels, 3, padding=1),
        )
        self.attention = nn.Sequential(
            nn.Conv3d(channels, channels // 4, 1), nn.ReLU(), nn.Conv3d(channels // 4, channels, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Transform ``(B, C, D, H, W)``."""
        y = self.convs(x)
        weighted: Tensor = y * self.attention(y.mean((2, 3, 4), keepdim=True))
        return x + weighted
