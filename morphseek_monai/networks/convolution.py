"""3x3x3 convolutions as fast on a CPU for one pair as for a batch."""

from typing import Any, Optional, Tuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from morphseek_monai.fields.grid import is_plain_eager

_ONES = [1, 1, 1]
_SLAB_VOXELS = 2**14  # of the weight gradient: what a slab takes stays in the processor's caches
_SLAB_SLICES = 4  # at least, so that every core has some


class Conv3d(nn.Conv3d):
    """:class:`torch.nn.Conv3d` that leaves the choice of the algorithm on a CPU neither to batch nor to image size.

    PyTorch (2.13) hands a float32 convolution to oneDNN only for a batch above one, or where channels times the first
    two spatial axes exceed 20,480; anything smaller is unfolded into a matrix, up to ten times as slow, and the weight
    gradient is unfolded always. Here every float32 3x3x3 convolution of stride 1 goes to oneDNN, channels last, and the
    weight gradient is a few matrix products of shifted slabs. Values and gradients are PyTorch's but for rounding.
    Anything else is left to PyTorch: other kernels, strides, types and devices, autocast, and whatever is traced,
    scripted or exported.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Convolve ``(B, in_channels, D, H, W)``."""
        # TorchScript skips a branch it cannot compile only where is_scripting() is the whole condition.
        if not torch.jit.is_scripting():  # type: ignore[attr-defined]
            if _is_served(self, input):
                return convolve(input, self.weight, self.bias)
        return self._conv_forward(input, self.weight, self.bias)


def use_fast_convolutions(network: nn.Module) -> None:
    """Turn every :class:`torch.nn.Conv3d` in ``network`` into a :class:`Conv3d`, in place; parameters stay.

    Subclasses, which may compute something else, are left alone.
    """
    for module in network.modules():
        if type(module) is nn.Conv3d:
            module.__class__ = Conv3d


def convolve(x: Tensor, weight: Tensor, bias: Optional[Tensor]) -> Tensor:
    """3x3x3 convolution of stride 1 with a border of one zero by oneDNN, on the CPU in float32.

    Args:
        x: ``(B, I, D, H, W)``.
        weight: ``(O, I, 3, 3, 3)``.
        bias: ``(O,)`` or None.

    Returns:
        ``(B, O, D, H, W)``, channels last.

    Example:
        >>> x, weight = torch.rand(1, 4, 8, 8, 8), torch.rand(6, 4, 3, 3, 3)
        >>> torch.allclose(convolve(x, weight, None), F.conv3d(x, weight, padding=1), atol=1e-4)
        True
    """
    x = x.contiguous(memory_format=torch.channels_last_3d)
    result: Tensor = _Convolution.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return result


def _is_served(layer: nn.Conv3d, x: Tensor) -> bool:
    return (
        layer.kernel_size == (3, 3, 3)
        and layer.stride == layer.dilation == (1, 1, 1)
        and layer.padding == (1, 1, 1)
        and layer.padding_mode == "zeros"
        and layer.groups == 1
        and x.dim() == 5
        and x.shape[1] == layer.in_channels
        and x.numel() > 0
        and x.device.type == layer.weight.device.type == "cpu"
        and x.dtype == layer.weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.is_available()
        and torch.backends.mkldnn.enabled
        and is_plain_eager(x)
    )


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Optional[Tensor]) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _onednn(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tuple[Optional[Tensor], Optional[Tensor], Optional[Tensor]]:
        x, weight = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last_3d)
        for_x, for_weight, for_bias = ctx.needs_input_grad
        if torch.is_grad_enabled():  # somebody differentiates the gradient: PyTorch's has a derivative
            grads: Tuple[Optional[Tensor], Optional[Tensor], Optional[Tensor]] = _pytorch(
                grad, x, weight, (for_x, for_weight, for_bias)
            )
            return grads
        x_grad = _onednn(grad, weight.flip(2, 3, 4).transpose(0, 1), None) if for_x else None
        weight_grad = _weight_gradient(grad, x, weight) if for_weight else None
        return x_grad, weight_grad, grad.sum((0, 2, 3, 4)) if for_bias else None


def _onednn(x: Tensor, weight: Tensor, bias: Optional[Tensor]) -> Tensor:
    weight = weight.contiguous(memory_format=torch.channels_last_3d)
    return torch.mkldnn_convolution(x, weight, bias, _ONES, _ONES, _ONES, 1)


def _pytorch(grad: Tensor, x: Tensor, weight: Tensor, mask: Tuple[bool, bool, bool]) -> Any:
    return torch.ops.aten.convolution_backward(
        grad, x, weight, [len(weight)], _ONES, _ONES, _ONES, False, [0, 0, 0], 1, mask
    )


def _weight_gradient(grad: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """Sum over the voxels of ``grad(v) x(v + offset)`` for the 27 offsets, ``(O, I, 3, 3, 3)``.

    Three copies of ``grad``, shifted along H, stand beside each other as channels, and three of ``x``, shifted along W:
    their product over the voxels of a slab holds nine offsets, in a matrix large enough for a fast product.
    """
    out_channels, in_channels = weight.shape[:2]
    if in_channels < 4 or in_channels * out_channels > 64 * 64:
        # PyTorch's product of unfolded images is as fast where its matrix is large, and where two channels leave
        # nothing to copy in one piece
        weight_grad: Tensor = _pytorch(grad, x, weight, (False, True, False))[1]
        return weight_grad
    height, width = x.shape[3:]
    thickness = max(_SLAB_SLICES, _SLAB_VOXELS // (height * width))
    sums = x.new_zeros(3, 3 * out_channels, 3 * in_channels)
    for x_item, grad_item in zip(x.permute(0, 2, 3, 4, 1), grad.permute(0, 2, 3, 4, 1)):
        for start in range(0, len(x_item), thickness):
            g = _shifted(F.pad(grad_item[start : start + thickness], (0, 0, 0, 0, 1, 1)), 1, height)
            below, above = int(start == 0), int(start + thickness >= len(x_item))
            slab = x_item[max(start - 1, 0) : start + thickness + 1]
            s = _shifted(F.pad(slab, (0, 0, 1, 1, 0, 0, below, above)), 2, width)
            for offset in range(3):
                sums[offset] += torch.bmm(g.transpose(1, 2), s[offset : offset + len(g)]).sum(0)
    # channels of g: (2 - offset along H, O); of s: (offset along W, I)
    sums = sums.view(3, 3, out_channels, 3, in_channels).flip(1)
    return sums.permute(2, 4, 0, 1, 3).contiguous()


def _shifted(maps: Tensor, axis: int, size: int) -> Tensor:
    """Three views of ``(D, H, W, C)``, each ``size`` long and one voxel further, as ``(D, H W, 3 C)``."""
    return torch.cat([maps.narrow(axis, shift, size) for shift in range(3)], dim=3).flatten(1, 2)
