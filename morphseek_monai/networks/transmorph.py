"""TransMorph: a Swin Transformer encoder with a convolutional decoder."""

from math import ceil
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

import torch
from torch import Tensor, nn

from morphseek_monai.networks.backbone import Backbone, Encoding, flow_head
from morphseek_monai.networks.swin import ChannelNorm, SwinStage


class Variant(NamedTuple):
    """Size of a TransMorph: channels at 1/4, and blocks and heads of the stages at 1/4, 1/8, 1/16, 1/32."""

    embed_dim: int
    depths: Tuple[int, ...]
    heads: Tuple[int, ...]


VARIANTS: Dict[str, Variant] = {
    "base": Variant(96, (2, 2, 4, 2), (4, 4, 8, 8)),
    "large": Variant(128, (2, 2, 12, 2), (4, 4, 8, 16)),
    "small": Variant(48, (2, 2, 4, 2), (4, 4, 4, 4)),
    "tiny": Variant(6, (2, 2, 4, 2), (2, 2, 4, 4)),
}
FULL_CHANNELS = 16  # of the decoder at full resolution, in every variant


class TransMorph(Backbone):
    """TransMorph (Chen et al., MedIA 2022, arXiv 2111.10480): direct displacement, no integration.

    A Swin Transformer on 4x4x4 patches encodes the pair at 1/4, 1/8, 1/16 and 1/32; two convolutions on the pair itself
    add skips at full and at half resolution. The top feature is the normalised output of the last stage (768 channels
    at 1/32 in ``"base"``). Parameters at the default ``image_size``: base 46,771,251, large 108,343,907, small
    11,757,195, tiny 244,527.

    ``image_size`` chooses the window and nothing else: 1/32 of the image as the authors have it, so that the stages
    have 8, 4, 2 and 1 windows along an axis. The network registers images of every other size, too, but weights fit
    only a network of their own window.

    Args:
        variant: ``"base"``, ``"large"``, ``"small"`` or ``"tiny"``, as published.
        image_size: images that the network is built for, voxels.
        window: window of the attention, in voxels of a stage's map; default ``image_size / 32``, rounded up.
        embed_dim: channels at 1/4, even, instead of the variant's; they double from stage to stage.
        depths: blocks of the four stages, instead of the variant's.
        heads: attention heads of the four stages, instead of the variant's.
        drop_path: stochastic depth of the last block; it grows linearly from 0 at the first one. 0.3 as published.

    Raises:
        ValueError: When ``variant`` is unknown, a size, number of stages or rate is out of its range, or the heads do
            not divide the channels of their stage.

    Example:
        >>> import torch
        >>> net = TransMorph("tiny", image_size=(32, 32, 64))
        >>> net(torch.rand(1, 1, 32, 32, 64), torch.rand(1, 1, 32, 32, 64)).shape
        torch.Size([1, 3, 32, 32, 64])
    """

    def __init__(
        self,
        variant: str = "base",
        image_size: Sequence[int] = (160, 192, 224),
        window: Optional[Sequence[int]] = None,
        embed_dim: Optional[int] = None,
        depths: Optional[Sequence[int]] = None,
        heads: Optional[Sequence[int]] = None,
        drop_path: float = 0.3,
    ) -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise ValueError(f"TransMorph() 'variant' must be one of {', '.join(VARIANTS)}, got {variant!r}")
        if len(image_size) != 3 or min(image_size) < 1:
            raise ValueError(f"TransMorph() 'image_size' must be three positive sizes, got {tuple(image_size)}")
        if not 0 <= drop_path < 1:
            raise ValueError(f"TransMorph() 'drop_path' must be in [0, 1), got {drop_path}")
        published = VARIANTS[variant]
        c = published.embed_dim if embed_dim is None else embed_dim
        depths = published.depths if depths is None else depths
        heads = published.heads if heads is None else heads
        if c < 2 or c % 2:
            raise ValueError(f"TransMorph() 'embed_dim' must be even and positive, got {c}")
        if len(depths) != 4 or len(heads) != 4 or min(depths) < 1:
            raise ValueError(
                f"TransMorph() 'depths' and 'heads' must be four positive numbers each, got {tuple(depths)} and "
                f"{tuple(heads)}"
            )
        self.stride = 32
        self.latent_channels = 8 * c
        window = [ceil(n / self.stride) for n in image_size] if window is None else window
        rates = [drop_path * i / (sum(depths) - 1) for i in range(sum(depths))]
        self.embed = nn.Sequential(nn.Conv3d(2, c, kernel_size=4, stride=4), ChannelNorm(c))
        self.merge = nn.ModuleList([nn.Identity(), *(_PatchMerging(c * 2**i) for i in range(3))])
        self.stages = nn.ModuleList(
            SwinStage(
                channels=c * 2**i,
                depth=depths[i],
                heads=heads[i],
                window=window,
                qkv_bias=False,
                drop_path=rates[sum(depths[:i]) : sum(depths[: i + 1])],
            )
            for i in range(4)
        )
        self.norms = nn.ModuleList(ChannelNorm(c * 2**i) for i in range(4))
        self.skip_half = _conv_block(2, c // 2)
        self.skip_full = _conv_block(2, FULL_CHANNELS)
        self.pool = nn.AvgPool3d(3, stride=2, padding=1)
        inputs = (8 * c, 4 * c, 2 * c, c, c // 2)
        skips = (4 * c, 2 * c, c, c // 2, FULL_CHANNELS)
        self.up = nn.ModuleList(_UpBlock(a, s, s) for a, s in zip(inputs, skips))
        self.flow = flow_head(FULL_CHANNELS)

    def encode(self, moving: Tensor, fixed: Tensor) -> Encoding:
        """Skips are the features at full, 1/2, 1/4, 1/8 and 1/16 resolution."""
        pair = torch.cat([moving, fixed], dim=1)
        features = [self.skip_full(pair), self.skip_half(self.pool(pair))]
        x = self.embed(pair)
        for merge, stage, norm in zip(self.merge, self.stages, self.norms):
            x = stage(merge(x))
            features.append(norm(x))
        return Encoding(features[:-1], features[-1])

    def decode(self, skips: List[Tensor], latent: Tensor) -> Tensor:
        """Field of the latent."""
        x = latent
        for level, up in enumerate(self.up):
            x = up(x, skips[len(skips) - 1 - level])
        flow: Tensor = self.flow(x).float()
        return flow


class _PatchMerging(nn.Module):
    """Halve the resolution and double the channels: LayerNorm and a linear map of 2x2x2 neighbours."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8 * channels)
        self.reduction = nn.Linear(8 * channels, 2 * channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        b, c, d, h, w = x.shape
        x = x.reshape(b, c, d // 2, 2, h // 2, 2, w // 2, 2).permute(0, 2, 4, 6, 3, 5, 7, 1).flatten(4)
        out: Tensor = self.reduction(self.norm(x))
        return out.movedim(-1, 1)


def _conv_block(in_channels: int, out_channels: int) -> nn.Sequential:
    conv = nn.Conv3d(in_channels, out_channels, 3, padding=1, bias=False)
    return nn.Sequential(conv, nn.InstanceNorm3d(out_channels), nn.LeakyReLU(0.01))


class _UpBlock(nn.Module):
    """Trilinear up-sampling by 2, the skip, and two convolutions."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            _conv_block(in_channels + skip_channels, out_channels), _conv_block(out_channels, out_channels)
        )

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = nn.functional.interpolate(x, scale_factor=2.0, mode="trilinear", align_corners=False)
        # under autocast one float32 skip would turn the concatenation, the widest tensor here, to float32
        out: Tensor = self.convs(torch.cat([x, skip.to(x.dtype)], dim=1))
        return out
