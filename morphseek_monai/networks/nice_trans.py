"""NICE-Trans: joint affine and deformable coarse-to-fine registration with Swin Transformers."""

from typing import List, Sequence

import torch
from torch import Tensor, nn

from morphseek_monai.networks.affine import AffineHead, affine_ddf
from morphseek_monai.networks.backbone import Backbone, Encoding, flow_head
from morphseek_monai.networks.pyramid import coarse_flow_head, double_flow, upsampling, warp_features, zero_flow
from morphseek_monai.networks.siamese import SiameseEncoder, conv_norm_block
from morphseek_monai.networks.swin import SwinStage

SWIN_DEPTH = 4


def swin_block(in_channels: int, out_channels: int, heads: int, window: Sequence[int]) -> nn.Sequential:
    """1x1x1 convolution to ``out_channels`` and a Swin stage of four blocks."""
    stage = SwinStage(out_channels, SWIN_DEPTH, heads, window, qkv_bias=True, drop_path=[0.0] * SWIN_DEPTH)
    return nn.Sequential(nn.Conv3d(in_channels, out_channels, 1), stage)


class FusionLevel(nn.Module):
    """Join the up-sampled decoder feature with the features of both images, the moving one's under the flow so far.

    Args:
        coarse: channels of the decoder feature that comes in.
        fine: channels it is up-sampled to.
        fuse: what maps the three joined feature maps to ``fine`` channels.
    """

    def __init__(self, coarse: int, fine: int, fuse: nn.Module) -> None:
        super().__init__()
        self.up = upsampling(coarse, fine)
        self.fuse = fuse

    def forward(self, x: Tensor, flow: Tensor, moving: Tensor, fixed: Tensor) -> Tensor:
        """Decoder feature of the coarse level; flow and encoder features of the fine one."""
        joined = torch.cat([self.up(x).to(fixed.dtype), fixed, warp_features(moving, flow)], dim=1)
        fused: Tensor = self.fuse(joined)
        return fused


class NICETrans(Backbone):
    """NICE-Trans (Meng et al., MICCAI 2023, arXiv 2307.03421): affine and deformable registration in one pass.

    One convolutional encoder sees both images. A Swin stage joins the deepest features to the top feature (256
    channels at 1/16). It yields an affine map and enters the decoder, which adds a residual flow at 1/8, 1/4, 1/2 and
    1, each found under the sum of all before. The field is a direct displacement: the affine field plus the residuals.
    5,706,508 parameters with the defaults, 883,720 of them in the encoder, as the authors' network.

    The affine field is evaluated at every level, where the authors up-sample that of 1/16: it is exact up to the
    border and needs no second voxel.

    Args:
        encoder: channels of the encoder levels, finest first.
        decoder: channels of the decoder levels, deepest first.
        heads: attention heads of the decoder levels but the finest, which is convolutional.
        window: window of the attention in voxels; shorter axes shrink it.
        affine_on_sample: what the affine head reads when a policy stands between :meth:`encode` and :meth:`decode`.
            ``False`` (default): the top feature itself, neither sampled nor passed through the policy's mean, as the
            last of the skips, so that all trajectories of a pair share one affine map and differ in the deformable
            part alone. ``True``: the latent, so that sampling perturbs the affine map as well: one number off moves
            every voxel, and the group explores global alignment. Without a policy both are the same.

    Raises:
        ValueError: When ``encoder`` and ``decoder`` differ in length, or ``heads`` is not one shorter.

    Example:
        >>> import torch
        >>> net = NICETrans()
        >>> sum(p.numel() for p in net.parameters())
        5706508
        >>> net(torch.rand(1, 1, 16, 16, 32), torch.rand(1, 1, 16, 16, 32)).shape
        torch.Size([1, 3, 16, 16, 32])
    """

    def __init__(
        self,
        encoder: Sequence[int] = (8, 16, 32, 64, 128),
        decoder: Sequence[int] = (256, 128, 64, 32, 16),
        heads: Sequence[int] = (16, 8, 4, 2),
        window: Sequence[int] = (5, 5, 5),
        affine_on_sample: bool = False,
    ) -> None:
        super().__init__()
        if len(encoder) != len(decoder):
            raise ValueError(
                f"NICETrans() 'decoder' must have one entry per level of 'encoder' ({len(encoder)}), got {len(decoder)}"
            )
        last = len(encoder) - 1
        if len(heads) != last:
            raise ValueError(
                f"NICETrans() 'heads' must have one entry per level of 'decoder' but the finest ({last}), "
                f"got {len(heads)}"
            )
        self.latent_channels = decoder[0]
        self.stride = 2**last
        self.affine_on_sample = affine_on_sample
        self.encoder = SiameseEncoder(encoder)
        self.top = swin_block(2 * encoder[-1], decoder[0], heads[0], window)
        self.affine = AffineHead(decoder[0])
        inputs = [decoder[i] + 2 * encoder[last - i] for i in range(1, last + 1)]
        self.levels = nn.ModuleList(
            FusionLevel(decoder[i - 1], decoder[i], swin_block(inputs[i - 1], decoder[i], heads[i], window))
            for i in range(1, last)
        )
        self.heads = nn.ModuleList(coarse_flow_head(decoder[i], last - i) for i in range(1, last))
        self.finest = FusionLevel(decoder[-2], decoder[-1], conv_norm_block(inputs[-1], decoder[-1]))
        self.flow = flow_head(decoder[-1])

    def encode(self, moving: Tensor, fixed: Tensor) -> Encoding:
        """Skips are the features of moving at 1, 1/2, 1/4, 1/8, then those of fixed, then the top for the affine head.

        With ``affine_on_sample`` the last one is missing.
        """
        moving_features, fixed_features = self.encoder(moving, fixed)
        top = self.top(torch.cat([fixed_features[-1], moving_features[-1]], dim=1))
        skips = moving_features[:-1] + fixed_features[:-1]
        if not self.affine_on_sample:
            skips.append(top)
        return Encoding(skips, top)

    def decode(self, skips: List[Tensor], latent: Tensor) -> Tensor:
        """Field of the latent: affine, then coarse to fine."""
        affine = self.affine(latent if self.affine_on_sample else skips[-1])
        n = len(skips) // 2
        x, residual = latent, zero_flow(skips[n - 1])
        for i, (level, head) in enumerate(zip(self.levels, self.heads)):
            moving, fixed = skips[n - 1 - i], skips[2 * n - 1 - i]
            x = level(x, affine_ddf(affine, list(moving.shape[2:])) + residual, moving, fixed)
            residual = double_flow(residual + head(x).float())
        flow = affine_ddf(affine, list(residual.shape[2:])) + residual
        x = self.finest(x, flow, skips[0], skips[n])
        ddf: Tensor = flow + self.flow(x).float()
        return ddf
