"""Mean over cubic windows by shifted additions (compiled by TorchScript: plain typing only)."""

from typing import Any, List, Tuple

import torch
from torch import Tensor
from torch.nn import functional as F


def box_mean(maps: Tensor, window: int) -> Tensor:
    """Mean over the cubic windows that lie within the maps.

    A sum of nine along an axis is that of eight and one, that of eight is twice that of four, and so on: four additions
    of whole maps, which a processor does many at a time, where average pooling adds nine values one after the other.
    The sums are as exact as those of pairwise summation.

    Args:
        maps: ``(B, C, D, H, W)``, each axis at least ``window``.
        window: edge of the window in voxels.

    Returns:
        ``(B, C, D - window + 1, H - window + 1, W - window + 1)``.

    Example:
        >>> box_mean(torch.ones(1, 1, 5, 5, 6), 5)
        tensor([[[[[1., 1.]]]]])
    """
    if maps.device.type != "cpu":
        return _all_axes(maps, window)
    means: List[Tensor] = []
    for channel in range(maps.shape[1]):  # what one channel takes stays in the processor's caches
        means.append(_all_axes(maps.narrow(1, channel, 1), window))
    return torch.cat(means, dim=1)


def differentiable_box_mean(maps: Tensor, window: int) -> Tensor:
    """:func:`box_mean` whose backward pass is another one, instead of one for each addition; not for TorchScript."""
    result: Tensor = _BoxMean.apply(maps, window)  # type: ignore[no-untyped-call]
    return result


class _BoxMean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, window: int) -> Tensor:
        ctx.window = window
        return box_mean(maps, window)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tuple[Tensor, None]:
        return differentiable_box_mean(F.pad(grad, [ctx.window - 1] * 6), ctx.window), None


def _all_axes(maps: Tensor, window: int) -> Tensor:
    for axis in range(2, 5):
        maps = _box_sum(maps, window, axis)
    return maps / float(window**3)


def _box_sum(maps: Tensor, window: int, axis: int) -> Tensor:
    size = maps.shape[axis] - window + 1
    done = 0  # voxels of the window that are summed already
    total = maps
    run = maps  # at each place the sum of `length` voxels from there on
    length = 1
    while length <= window:
        if (window // length) % 2 == 1:
            part = run.narrow(axis, done, size)
            total = part if done == 0 else total + part
            done += length
        if 2 * length <= window:
            rest = run.shape[axis] - length
            run = run.narrow(axis, 0, rest) + run.narrow(axis, length, rest)
        length *= 2
    return total
