"""CorrMLP: coarse-to-fine registration by local correlation and multi-window MLPs."""

from typing import List, Sequence, Tuple

import torch
from torch import Tensor, nn

from morphseek_monai.networks.backbone import Backbone, Encoding, flow_head
from morphseek_monai.networks.correlation import local_correlation
from morphseek_monai.networks.pyramid import coarse_flow_head, double_flow, upsampling, warp_features, zero_flow
from morphseek_monai.networks.siamese import SiameseEncoder
from morphseek_monai.networks.window_mlp import ChannelAttentionBlock, MultiWindowMLP


class CorrelationBlock(nn.Module):
    """Correlation-aware multi-window MLP (CMW-MLP) block: correlate two feature maps and look at them together.

    Args:
        in_channels: channels of either map.
        out_channels: channels of the result.
        windows: see :class:`~morphseek_monai.networks.window_mlp.MultiWindowMLP`.
    """

    def __init__(self, in_channels: int, out_channels: int, windows: Sequence[int]) -> None:
        super().__init__()
        self.conv = nn.Conv3d(2 * in_channels + 27, out_channels, 3, padding=1)  # 27 displacements up to one voxel
        self.mlp = MultiWindowMLP(out_channels, windows)
        self.attention = ChannelAttentionBlock(out_channels)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Join two maps ``(B, in_channels, D, H, W)``."""
        second = second.to(first.dtype)
        x = self.conv(torch.cat([local_correlation(first, second), first, second], dim=1))
        y = self.mlp(x.permute(0, 2, 3, 4, 1)).permute(0, 4, 1, 2, 3)
        joined: Tensor = x + self.attention(y)
        return joined


class CorrelationLevel(nn.Module):
    """To the next finer level: refine the flow, match the images under it, join the match with what is known.

    Args:
        coarse: channels of the decoder feature that comes in.
        fine: channels of the decoder feature that goes out.
        image: channels of the encoder features of the finer level.
        level: the level that comes in has 1 / 2^``level`` of the size of the images.
        windows: see :class:`CorrelationBlock`.
    """

    def __init__(self, coarse: int, fine: int, image: int, level: int, windows: Sequence[int]) -> None:
        super().__init__()
        self.head = coarse_flow_head(coarse, level)
        self.up = upsampling(coarse, fine)
        self.match = CorrelationBlock(image, fine, windows)
        self.join = CorrelationBlock(fine, fine, windows)

    def forward(self, x: Tensor, flow: Tensor, moving: Tensor, fixed: Tensor) -> Tuple[Tensor, Tensor]:
        """Decoder feature and flow of the coarse level, encoder features of the fine one, to feature and flow there."""
        flow = double_flow(flow + self.head(x).float())
        matched = self.match(fixed, warp_features(moving, flow))
        return self.join(matched, self.up(x)), flow


class CorrMLP(Backbone):
    """CorrMLP (Meng et al., CVPR 2024, arXiv 2406.00123): local correlation and multi-window MLPs at every resolution.

    One encoder sees both images. The deepest features are correlated and joined to the top feature (128 channels at
    1/8), which yields the first flow and enters the decoder; on the way up each level adds a residual to the doubled
    flow and matches the images under it. The field is a direct displacement. 4,190,834 parameters with the defaults,
    219,912 of them in the encoder, as the authors' network.

    Its latent is three to thirty times larger than that of the other backbones (1/8, not 1/16 or 1/32): sampling and
    log-probability cost more, and LDVN divides by a larger number.

    Args:
        encoder: channels of the encoder levels, finest first.
        decoder: channels of the decoder levels, deepest first; each divisible by 4 for the channel attention.
        windows: edge lengths of the MLP windows, in voxels.

    Raises:
        ValueError: When ``encoder`` and ``decoder`` differ in length, or a decoder level is not a multiple of 4.

    Example:
        >>> import torch
        >>> net = CorrMLP()
        >>> sum(p.numel() for p in net.parameters())
        4190834
        >>> net(torch.rand(1, 1, 16, 16, 16), torch.rand(1, 1, 16, 16, 16)).shape
        torch.Size([1, 3, 16, 16, 16])
    """

    def __init__(
        self,
        encoder: Sequence[int] = (8, 16, 32, 64),
        decoder: Sequence[int] = (128, 64, 32, 16),
        windows: Sequence[int] = (3, 5, 7),
    ) -> None:
        super().__init__()
        if len(encoder) != len(decoder):
            raise ValueError(
                f"CorrMLP() 'decoder' must have one entry per level of 'encoder' ({len(encoder)}), got {len(decoder)}"
            )
        if any(channels % 4 for channels in decoder):
            raise ValueError(f"CorrMLP() 'decoder' must hold multiples of 4, got {list(decoder)}")
        last = len(encoder) - 1
        self.latent_channels = decoder[0]
        self.stride = 2**last
        self.encoder = SiameseEncoder(encoder)
        self.top = CorrelationBlock(encoder[-1], decoder[0], windows)
        self.levels = nn.ModuleList(
            CorrelationLevel(decoder[i], decoder[i + 1], encoder[last - 1 - i], last - i, windows) for i in range(last)
        )
        self.flow = flow_head(decoder[-1])

    def encode(self, moving: Tensor, fixed: Tensor) -> Encoding:
        """Skips are the features of moving at 1, 1/2, 1/4, then those of fixed; the deepest are in the top already."""
        moving_features, fixed_features = self.encoder(moving, fixed)
        top = self.top(fixed_features[-1], moving_features[-1])
        return Encoding(moving_features[:-1] + fixed_features[:-1], top)

    def decode(self, skips: List[Tensor], latent: Tensor) -> Tensor:
        """Field of the latent, coarse to fine."""
        x, flow = latent, zero_flow(latent)
        n = len(skips) // 2
        for i, level in enumerate(self.levels):
            x, flow = level(x, flow, skips[n - 1 - i], skips[2 * n - 1 - i])
        ddf: Tensor = flow + self.flow(x).float()
        return ddf
