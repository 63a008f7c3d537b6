"""Weight gradient of a small convolution kernel, on a CPU."""

import torch
from torch import Tensor
from torch.nn import functional as F

_SLAB_VOXELS = 2**14  # what the shifted copies of a slab take stays in the processor's caches
_SLAB_SLICES = 4  # at least, so that every core has some
_FEW = 4  # channels; fewer leave nothing to copy in one piece
_MANY = 2**14  # weights of one offset; then each slice's product writes more than it reads


def weight_gradient(grad: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """Gradient by ``weight`` of a convolution of stride 1 with a border of one zero, in matrix products.

    For each offset it is the sum over the voxels v of ``grad(v) x(v + offset)``. oneDNN without AVX-512, as PyTorch,
    unfolds ``x`` into a matrix of 27 copies. Here a slab of slices of ``grad`` is copied k times side by side as
    channels, shifted along H, and one of ``x`` k times, shifted along W: their product over the voxels holds k * k
    offsets, in a matrix large enough for a fast product, and a shift along D is a view.

    Args:
        grad: ``(B, O, D', H', W')``, channels last.
        x: ``(B, I, D, H, W)``, channels last.
        weight: ``(O, I, k, k, k)``, k = 2 or 3; only its shape and type count.

    Returns:
        ``(O, I, k, k, k)``.
    """
    out_channels, in_channels, k = weight.shape[:3]
    if in_channels < _FEW or in_channels * out_channels > _MANY:  # PyTorch's unfolding is as fast there
        ones, zeros, mask = [1, 1, 1], [0, 0, 0], (False, True, False)
        result: Tensor = torch.ops.aten.convolution_backward(
            grad, x, weight, None, ones, ones, ones, False, zeros, 1, mask
        )[1]
        return result
    height, width = x.shape[3], grad.shape[4]
    thickness = max(_SLAB_SLICES, _SLAB_VOXELS // (height * width))
    sums = x.new_zeros((k, k * out_channels, k * in_channels))
    for x_item, grad_item in zip(x.permute(0, 2, 3, 4, 1), grad.permute(0, 2, 3, 4, 1)):
        for first in range(0, len(grad_item), thickness):
            part = grad_item[first : first + thickness]
            last = first + len(part) + k - 2  # of the slices of x that these meet, from first - 1 on
            below, above = int(first == 0), int(last > len(x_item))
            slab = F.pad(x_item[max(first - 1, 0) : last], (0, 0, 1, 1, 0, 0, below, above))
            x_shifted = _side_by_side(slab, 2, width, k)
            grad_shifted = _side_by_side(F.pad(part, (0, 0, 0, 0, k - 2, k - 2)), 1, height, k).transpose(1, 2)
            for offset in range(k):
                sums[offset] += torch.bmm(grad_shifted, x_shifted[offset : offset + len(part)]).sum(0)
    # the shift of grad along H runs against the offset
    sums = sums.view(k, k, out_channels, k, in_channels).flip(1)
    return sums.permute(2, 4, 0, 1, 3).contiguous()


def _side_by_side(maps: Tensor, axis: int, size: int, k: int) -> Tensor:
    """k views of ``(D, H, W, C)``, each ``size`` long and one voxel further, as ``(D, H W, k C)``."""
    return torch.cat([maps.narrow(axis, shift, size) for shift in range(k)], dim=3).flatten(1, 2)
