"""From one level of a coarse-to-fine decoder to the next: features, flow, and features moved by the flow."""

import torch
from torch import Tensor, nn

from morphseek_monai.fields import warp
from morphseek_monai.networks.backbone import flow_head
from morphseek_monai.networks.swin import ChannelNorm


def upsampling(in_channels: int, out_channels: int) -> nn.Sequential:
    """Learned doubling of a feature map: transposed convolution 2x2x2 of stride 2, then LayerNorm over channels."""
    return nn.Sequential(nn.ConvTranspose3d(in_channels, out_channels, 2, stride=2), ChannelNorm(out_channels))


def coarse_flow_head(in_channels: int, level: int) -> nn.Conv3d:
    """:func:`~morphseek_monai.networks.backbone.flow_head` for a level 1 / 2^``level`` of the size of the images.

    Its output is doubled ``level`` times, so its weights start that much smaller: an untrained decoder moves no voxel
    by 0.01 whatever its number of levels.
    """
    head = flow_head(in_channels)
    with torch.no_grad():
        head.weight.div_(2.0**level)
    return head


def double_flow(flow: Tensor) -> Tensor:
    """Carry a field ``(B, 3, d, h, w)`` to the next finer level ``(B, 3, 2 d, 2 h, 2 w)``: values double.

    Pooling by 2 keeps the outer edges of the field of view, not the centres of the corner voxels, so the field is
    resampled edge to edge (``align_corners=False``) and one coarse voxel is exactly two fine ones, as in
    :func:`~morphseek_monai.fields.resize_ddf`; that one refuses the single-voxel axes which the deepest level of a
    small image has. (The authors' implementations resample corner to corner and double as well: up to half a coarse
    voxel off at the border.)
    """
    return 2.0 * nn.functional.interpolate(flow, scale_factor=2.0, mode="trilinear", align_corners=False)


def warp_features(features: Tensor, flow: Tensor) -> Tensor:
    """Features ``(B, C, D, H, W)`` moved by ``flow``, in their own type; zero, their mean, beyond the image."""
    return warp(features, flow, padding="zeros").to(features.dtype)


def zero_flow(features: Tensor) -> Tensor:
    """The field ``(B, 3, D, H, W)`` that moves nothing, float32, on the grid of ``features``."""
    return torch.zeros_like(features[:, :1], dtype=torch.float32).expand(-1, 3, -1, -1, -1)
