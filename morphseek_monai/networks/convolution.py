"""3x3x3 convolutions as fast on a CPU for one pair as for a batch."""

from typing import Any, Optional, Tuple

import torch
from torch import Tensor, nn

from morphseek_monai.fields.axes import is_plain_eager
from morphseek_monai.networks.weight_gradient import weight_gradient

CHANNELS_LAST = torch.channels_last_3d


class Conv3d(nn.Conv3d):
    """:class:`torch.nn.Conv3d` that is as fast on a CPU for one small image as for many large ones.

    PyTorch (2.13) hands a float32 convolution to oneDNN only for a batch above one, or where channels times the first
    two spatial axes exceed 20,480; anything smaller is unfolded into a matrix, up to ten times as slow, and the weight
    gradient is unfolded always. Here every float32 3x3x3 convolution of stride 1 goes to oneDNN, channels last, and the
    weight gradient to :func:`~morphseek_monai.networks.weight_gradient.weight_gradient`. Values and gradients are
    PyTorch's but for rounding. Anything else is left to PyTorch: other kernels, strides, types and devices, autocast,
    and whatever is traced, scripted or exported.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Convolve ``(B, in_channels, D, H, W)``."""
        # TorchScript skips a branch it cannot compile only where is_scripting() is the whole condition.
        if not torch.jit.is_scripting():  # type: ignore[attr-defined]
            served = is_served(self, input)
            if served:
                return convolve(input, self.weight, self.bias)
        result: Tensor = self._conv_forward(input, self.weight, self.bias)
        return result


def use_fast_convolutions(network: nn.Module) -> None:
    """Turn every :class:`torch.nn.Conv3d` in ``network`` into a :class:`Conv3d`, in place; parameters stay.

    Subclasses, which may compute something else, are left alone.
    """
    for module in network.modules():
        if type(module) is nn.Conv3d:
            module.__class__ = Conv3d


def is_served(layer: nn.Conv3d, x: Tensor) -> bool:
    """Whether :func:`convolve` may do for ``x`` what ``layer`` does."""
    plain: bool = (
        layer.kernel_size == (3, 3, 3)
        and layer.stride == layer.dilation == layer.padding == (1, 1, 1)
        and layer.padding_mode == "zeros"
        and layer.groups == 1
    )
    onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return (
        is_plain_eager(x)
        and plain
        and onednn
        and bool(torch.backends.mkldnn.enabled)
        and x.dim() == 5
        and x.numel() > 0
        and x.device.type == layer.weight.device.type == "cpu"
        and type(x).__torch_dispatch__ == Tensor.__torch_dispatch__  # no fake or distributed tensor
        and x.dtype == layer.weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
    )


def convolve(x: Tensor, weight: Tensor, bias: Optional[Tensor] = None) -> Tensor:
    """Convolution of stride 1 with a border of one zero by oneDNN, on the CPU in float32.

    Args:
        x: ``(B, I, D, H, W)``.
        weight: ``(O, I, k, k, k)``, k = 2 or 3.
        bias: ``(O,)`` or None.

    Returns:
        ``(B, O, D', H', W')``, channels last; D' = D for k = 3 and D + 1 for k = 2.

    Example:
        >>> x, weight = torch.rand(1, 4, 8, 8, 8), torch.rand(6, 4, 3, 3, 3)
        >>> torch.allclose(convolve(x, weight), nn.functional.conv3d(x, weight, padding=1), atol=1e-4)
        True
    """
    result: Tensor = _Convolution.apply(  # type: ignore[no-untyped-call]
        x.contiguous(memory_format=CHANNELS_LAST), weight, bias
    )
    return result


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Optional[Tensor]) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _onednn(x, weight, bias, 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tuple[Optional[Tensor], Optional[Tensor], Optional[Tensor]]:
        x, weight = ctx.saved_tensors
        for_x, for_weight, for_bias = ctx.needs_input_grad
        bias_grad = grad.sum((0, 2, 3, 4)) if for_bias else None
        if torch.is_grad_enabled():  # somebody differentiates the gradient: PyTorch's has a derivative
            ones, zeros = [1, 1, 1], [0, 0, 0]
            x_grad, weight_grad, _ = torch.ops.aten.convolution_backward(
                grad, x, weight, None, ones, ones, ones, False, zeros, 1, (for_x, for_weight, False)
            )
            return x_grad, weight_grad, bias_grad
        grad = grad.contiguous(memory_format=CHANNELS_LAST)
        mirrored = weight.flip(2, 3, 4).transpose(0, 1)
        x_grad = _onednn(grad, mirrored, None, weight.shape[2] - 2) if for_x else None
        return x_grad, weight_gradient(grad, x, weight) if for_weight else None, bias_grad


def _onednn(x: Tensor, weight: Tensor, bias: Optional[Tensor], padding: int) -> Tensor:
    weight = weight.contiguous(memory_format=CHANNELS_LAST)
    return torch.mkldnn_convolution(x, weight, bias, [padding] * 3, [1, 1, 1], [1, 1, 1], 1)
