"""The contract that makes any encoder-decoder registration network usable by MorphSeek."""

from typing import List, NamedTuple

from torch import Tensor, nn


class Encoding(NamedTuple):
    """What an encoder hands to the decoder.

    Attributes:
        skips: features and inputs the decoder needs beside the top feature, in the backbone's own order.
        top: deepest feature ``(B, latent_channels, d, h, w)``; the policy replaces it by a latent of the same shape.
    """

    skips: List[Tensor]
    top: Tensor


class Backbone(nn.Module):
    """An encoder-decoder registration network, seen through two calls.

    The field that :meth:`decode` returns obeys ``warped(x) = moving(x + u(x))``: voxels, on the fixed grid. Subclasses
    set :attr:`latent_channels` and :attr:`stride` in ``__init__``, implement :meth:`encode` and :meth:`decode` in the
    TorchScript subset of Python, and need no line of code elsewhere.

    Attributes:
        latent_channels: channels of :attr:`Encoding.top`.
        stride: every spatial size must be a multiple of it; :class:`~morphseek_monai.networks.MorphSeekNet` pads to it.
    """

    latent_channels: int
    stride: int

    def encode(self, moving: Tensor, fixed: Tensor) -> Encoding:
        """Encode ``moving`` and ``fixed``, each ``(B, 1, D, H, W)``."""
        raise NotImplementedError

    def decode(self, skips: List[Tensor], latent: Tensor) -> Tensor:
        """Decode ``latent`` ``(B, latent_channels, d, h, w)`` and its pair's skips to a field ``(B, 3, D, H, W)``."""
        raise NotImplementedError

    def forward(self, moving: Tensor, fixed: Tensor) -> Tensor:
        """The plain network, as its authors use it: ``decode(skips, top)``."""
        encoding = self.encode(moving, fixed)
        return self.decode(encoding.skips, encoding.top)


def flow_head(in_channels: int) -> nn.Conv3d:
    """Last convolution to three displacement channels, N(0, 1e-5) weights and no bias offset.

    An untrained network is then the identity up to 1e-4 voxels, the initialisation that VoxelMorph, TransMorph,
    NICE-Trans and CorrMLP share.
    """
    head = nn.Conv3d(in_channels, 3, kernel_size=3, padding=1)
    nn.init.normal_(head.weight, std=1e-5)
    nn.init.zeros_(head.bias)  # type: ignore[arg-type]
    return head


def conv_block(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    """3x3x3 convolution and LeakyReLU(0.2), VoxelMorph's only building block.

    He initialisation, as in VoxelMorph's original (Keras) code: PyTorch's default shrinks the signal in every layer,
    and a stack of ten then needs hundreds of iterations before it sees its input.
    """
    conv = nn.Conv3d(in_channels, out_channels, 3, stride=stride, padding=1)
    nn.init.kaiming_normal_(conv.weight, a=0.2)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return nn.Sequential(conv, nn.LeakyReLU(0.2))
