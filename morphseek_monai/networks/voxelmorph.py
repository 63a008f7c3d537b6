"""VoxelMorph, and the wide variant that the MorphSeek paper calls VoxelMorph-L."""

from typing import List, Optional, Sequence

import torch
from torch import Tensor, nn

from morphseek_monai.fields import integrate_velocity, resize_ddf
from morphseek_monai.networks.backbone import Backbone, Encoding, conv_block, flow_head
from morphseek_monai.networks.forces import correlation_forces, descriptor_forces
from morphseek_monai.networks.upsampled import DecoderBlock


class _VoxelMorphFamily(Backbone):
    """Decoder and flow head that both variants share; ``skip_channels`` belong to the decoder levels, deepest first."""

    def __init__(
        self,
        encoder: Sequence[int],
        decoder: Sequence[int],
        extras: Sequence[int],
        skip_channels: Sequence[int],
        integration_steps: int,
    ) -> None:
        super().__init__()
        if len(encoder) != len(decoder):
            raise ValueError(
                f"{type(self).__name__}() 'decoder' must have one entry per level of 'encoder' ({len(encoder)}), "
                f"got {len(decoder)}"
            )
        self.latent_channels = encoder[-1]
        self.stride = 2 ** len(encoder)
        self.integration_steps = integration_steps
        inputs = [encoder[-1]] + [d + s for d, s in zip(decoder, skip_channels)]
        self.up = nn.ModuleList(DecoderBlock(*conv_block(a, b)) for a, b in zip(inputs, decoder))
        widths = (inputs[-1], *extras)
        self.extra = nn.ModuleList(DecoderBlock(*conv_block(a, b)) for a, b in zip(widths, extras))
        self.flow = flow_head(extras[-1])

    def _flow(self, skips: List[Tensor], latent: Tensor) -> Tensor:
        x = latent
        for level, block in enumerate(self.up):
            x = block(x, self._skip(skips, level))
        for number, block in enumerate(self.extra):
            x = block(x, self._skip(skips, len(skips) + number))
        flow: Tensor = self.flow(x).float()
        return flow

    def _skip(self, skips: List[Tensor], block: int) -> Optional[Tensor]:
        """What the block reads beside the feature from below, which it then doubles; the deepest reads nothing more."""
        return skips[len(skips) - block] if 0 < block <= len(skips) else None


class VoxelMorph(_VoxelMorphFamily):
    """VoxelMorph as published in PyTorch: one convolution a level, max-pooling, diffeomorphic integration.

    Balakrishnan et al., TMI 2019 (arXiv 1809.05231); Dalca et al., MedIA 2019 (arXiv 1903.03545). The top feature is
    the pooled output of the last encoder level (32 channels at 1/16), the tensor that enters the first decoder
    convolution. 327,331 parameters with the defaults.

    Args:
        encoder: channels of the encoder levels.
        decoder: channels of the decoder convolutions, one a level, deepest first.
        extras: channels of the convolutions at full resolution.
        integration_steps: squarings of the stationary velocity field; 0 gives a direct displacement field.

    Raises:
        ValueError: When ``encoder`` and ``decoder`` differ in length.

    Example:
        >>> import torch
        >>> net = VoxelMorph()
        >>> sum(p.numel() for p in net.parameters())
        327331
        >>> net(torch.rand(1, 1, 32, 32, 32), torch.rand(1, 1, 32, 32, 32)).shape
        torch.Size([1, 3, 32, 32, 32])
    """

    def __init__(
        self,
        encoder: Sequence[int] = (16, 32, 32, 32),
        decoder: Sequence[int] = (32, 32, 32, 32),
        extras: Sequence[int] = (32, 16, 16),
        integration_steps: int = 7,
    ) -> None:
        super().__init__(encoder, decoder, extras, tuple(reversed(encoder)), integration_steps)
        self.down = nn.ModuleList(conv_block(a, b) for a, b in zip((2, *encoder[:-1]), encoder))
        self.pool = nn.MaxPool3d(2)

    def encode(self, moving: Tensor, fixed: Tensor) -> Encoding:
        """Skips are the encoder outputs before pooling, finest first."""
        x = torch.cat([moving, fixed], dim=1)
        skips: List[Tensor] = []
        for conv in self.down:
            x = conv(x)
            skips.append(x)
            x = self.pool(x)
        return Encoding(skips, x)

    def decode(self, skips: List[Tensor], latent: Tensor) -> Tensor:
        """Field of the latent; the velocity is integrated at half resolution as in the original."""
        flow = self._flow(skips, latent)
        if self.integration_steps == 0:
            return flow
        size: List[int] = list(flow.shape[2:])
        velocity = resize_ddf(flow, [size[0] // 2, size[1] // 2, size[2] // 2])
        return resize_ddf(integrate_velocity(velocity, self.integration_steps), size)


class VoxelMorphL(_VoxelMorphFamily):
    """VoxelMorph with a strided encoder, in the widths of the TransMorph paper; the default is its "huge" (-L) variant.

    Chen et al., MedIA 2022 (arXiv 2111.10480), baseline "VoxelMorph-huge": direct displacement, no integration, the
    input pair itself is the skip at full resolution. 63,252,939 parameters; top feature 320 channels at 1/16.

    Args:
        encoder: channels of the stride-2 convolutions at 1/2, 1/4, 1/8, 1/16.
        decoder: channels of the decoder convolutions at 1/16, 1/8, 1/4, 1/2.
        extras: channels of the convolutions at full resolution. ``encoder=(16, 32, 32, 32)``,
            ``decoder=(32, 32, 32, 32)``, ``extras=(32, 16, 16)`` is VoxelMorph-2 (301,411 parameters).
        integration_steps: squarings of the field read as a velocity; 0, the original, uses it as displacement.
        forces: window of the :func:`~morphseek_monai.networks.forces.correlation_forces` that the network reads beside
            the images, as three more input channels; 0, the original, gives it none. A plain U-Net spends thousands of
            iterations on finding out that a difference of two edges means a direction; given the direction, it starts
            there (``docs/benchmarks/brains.md``). Reading the gradient of the similarity anew at every refinement step
            is the idea of GraDIRN (Qiu et al., MICCAI 2022, arXiv 2112.03915).
        mind: radius of the :func:`~morphseek_monai.networks.forces.descriptor_forces` that the network reads as well,
            three more input channels for images of unlike contrast; 0 gives it none.

    Raises:
        ValueError: When ``encoder`` and ``decoder`` differ in length, ``forces`` is even or 1, or ``mind`` negative.

    Example:
        >>> net = VoxelMorphL(encoder=(8, 32, 32, 32), decoder=(32, 32, 32, 32), extras=(32, 8, 8))
        >>> sum(p.numel() for p in net.parameters())  # "VoxelMorph-1"
        274387
    """

    def __init__(
        self,
        encoder: Sequence[int] = (14, 28, 144, 320),
        decoder: Sequence[int] = (1152, 1152, 320, 144),
        extras: Sequence[int] = (28, 14, 14),
        integration_steps: int = 0,
        forces: int = 0,
        mind: int = 0,
    ) -> None:
        if forces and (forces < 3 or forces % 2 == 0):
            raise ValueError(f"VoxelMorphL() 'forces' must be 0 or an odd window of at least 3, got {forces}")
        if mind < 0:
            raise ValueError(f"VoxelMorphL() 'mind' must be 0 or a radius of at least 1, got {mind}")
        inputs = 2 + 3 * (forces > 0) + 3 * (mind > 0)
        super().__init__(encoder, decoder, extras, (*reversed(encoder[:-1]), inputs), integration_steps)
        self.forces = forces
        self.mind = mind
        self.down = nn.ModuleList(conv_block(a, b, stride=2) for a, b in zip((inputs, *encoder[:-1]), encoder))

    def encode(self, moving: Tensor, fixed: Tensor) -> Encoding:
        """Skips are the input channels and the encoder outputs but the last, finest first."""
        x = torch.cat([moving, fixed], dim=1)
        if self.forces > 0:
            x = torch.cat([x, correlation_forces(moving, fixed, self.forces)], dim=1)
        if self.mind > 0:
            x = torch.cat([x, descriptor_forces(moving, fixed, self.mind)], dim=1)
        skips: List[Tensor] = []
        for conv in self.down:
            skips.append(x)
            x = conv(x)
        return Encoding(skips, x)

    def decode(self, skips: List[Tensor], latent: Tensor) -> Tensor:
        """Field of the latent."""
        flow = self._flow(skips, latent)
        if self.integration_steps == 0:
            return flow
        return integrate_velocity(flow, self.integration_steps)
