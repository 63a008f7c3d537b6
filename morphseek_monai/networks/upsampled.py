"""A convolution of a doubled image that never makes the doubled image, on a CPU."""

from typing import Any, Iterator, Optional, Tuple

import torch
from torch import Tensor, nn

from morphseek_monai.networks.convolution import CHANNELS_LAST, convolve, is_served

# What of three taps along an axis falls on the lower and on the upper of the two voxels that an even and an odd place
# sees; and the same for the 27 taps, 8 places and 8 voxels of a cube, (27, 64).
_AXIS = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]], [[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]])
_SUMS = torch.einsum("pax,qby,rcz->xyzpqrabc", _AXIS, _AXIS, _AXIS).reshape(27, 64)


def upsample_and_cat(x: Tensor, skip: Tensor) -> Tensor:
    """Double the spatial size of ``x`` (nearest) and append ``skip`` as further channels, in the type of ``x``.

    Under autocast a float32 skip (the input pair) would otherwise turn the widest tensor of the decoder to float32.
    """
    return torch.cat([nn.functional.interpolate(x, scale_factor=2.0, mode="nearest"), skip.to(x.dtype)], dim=1)


class DecoderBlock(nn.Sequential):
    """A convolution and what follows it; given a skip, it reads :func:`upsample_and_cat` of its input and the skip.

    On a CPU the convolution is then taken apart: the skip's channels are convolved as they are, and those of the input
    by :func:`convolve_upsampled`.
    """

    def forward(self, x: Tensor, skip: Optional[Tensor] = None) -> Tensor:
        """Apply to ``x`` ``(B, C, D, H, W)`` and ``skip`` ``(B, S, 2 D, 2 H, 2 W)``, or to ``x`` alone."""
        if skip is not None:
            # TorchScript skips a branch it cannot compile only where is_scripting() is the whole condition.
            if not torch.jit.is_scripting():  # type: ignore[attr-defined]
                conv = self[0]
                if isinstance(conv, nn.Conv3d) and is_served(conv, x) and is_served(conv, skip) and _is_large(x, conv):
                    y = convolve_upsampled(x, conv.weight[:, : x.shape[1]])
                    y = y + convolve(skip, conv.weight[:, x.shape[1] :], conv.bias)
                    result: Tensor = self[1:](y)
                    return result
            x = upsample_and_cat(x, skip)
        for module in self:
            x = module(x)
        return x


def _is_large(x: Tensor, conv: nn.Conv3d) -> bool:
    """Where the image is smaller than the kernels of :func:`convolve_upsampled`, doubling it is cheaper."""
    return x.shape[2] * x.shape[3] * x.shape[4] > 8 * conv.out_channels


def convolve_upsampled(x: Tensor, weight: Tensor) -> Tensor:
    """3x3x3 convolution of ``x`` after doubling its spatial size (nearest), on the CPU in float32.

    In a doubled image three neighbours are two voxels of ``x``, one of them twice. So each of the eight places within a
    voxel of ``x`` needs a kernel of 2x2x2 sums of weights: 8 products where the doubled image takes 27, and one
    convolution of ``x`` with eight times the channels does for all places (Shi et al., CVPR 2016, arXiv 1609.05158).

    Args:
        x: ``(B, I, D, H, W)``.
        weight: ``(O, I, 3, 3, 3)``.

    Returns:
        ``(B, O, 2 D, 2 H, 2 W)``, channels last.

    Example:
        >>> x, weight = torch.rand(1, 4, 3, 3, 3), torch.rand(6, 4, 3, 3, 3)
        >>> doubled = nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")
        >>> expected = nn.functional.conv3d(doubled, weight, padding=1)
        >>> torch.allclose(convolve_upsampled(x, weight), expected, atol=1e-4)
        True
    """
    sums = _SUMS.to(weight)
    kernels = (weight.flatten(2) @ sums).view(*weight.shape[:2], 8, 2, 2, 2).movedim(2, 0).flatten(0, 1)
    result: Tensor = _Interleave.apply(convolve(x, kernels))  # type: ignore[no-untyped-call]
    return result


class _Interleave(torch.autograd.Function):
    """``(B, 8 C, D + 1, H + 1, W + 1)`` to ``(B, C, 2 D, 2 H, 2 W)``: even places read from 0, odd ones from 1."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor) -> Tensor:
        b, channels, *size = maps.shape
        d, h, w = (n - 1 for n in size)
        out = maps.new_empty((b, d, 2, h, 2, w, 2, channels // 8))
        for place, target in _places(maps.permute(0, 2, 3, 4, 1), out):
            target.copy_(place)
        return out.view(b, 2 * d, 2 * h, 2 * w, channels // 8).permute(0, 4, 1, 2, 3)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        b, c, *size = grad.shape
        d, h, w = (n // 2 for n in size)
        grad = grad.contiguous(memory_format=CHANNELS_LAST).permute(0, 2, 3, 4, 1)
        out = grad.new_zeros((b, d + 1, h + 1, w + 1, 8 * c))
        for target, place in _places(out, grad.view(b, d, 2, h, 2, w, 2, c)):
            target.copy_(place)
        return out.permute(0, 4, 1, 2, 3)


def _places(maps: Tensor, interleaved: Tensor) -> Iterator[Tuple[Tensor, Tensor]]:
    """Matching views ``(B, D, H, W, C)`` of ``(B, D + 1, H + 1, W + 1, 8 C)`` and ``(B, D, 2, H, 2, W, 2, C)``."""
    d, _, h, _, w, _, c = interleaved.shape[1:]
    for number in range(8):
        i, j, k = number // 4, number // 2 % 2, number % 2
        place = maps[:, i : i + d, j : j + h, k : k + w, number * c : (number + 1) * c]
        yield place, interleaved[:, :, i, :, j, :, k]
