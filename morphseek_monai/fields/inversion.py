"""Invert a large displacement field on the CPU, each voxel for as long as it needs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch
import torch.nn.functional as F

from .algebra import SLOW
from .arguments import check_ddf

_BLOCK = 2**16  # voxels whose iteration stays in the processor's cache


@torch.no_grad()
def invert_by_voxel(
    ddf: torch.Tensor, iterations: int = 20, tolerance: float = 0.01, start: torch.Tensor | None = None
) -> torch.Tensor:
    """The inverse of `x + u(x)` by the iteration of :func:`~morphseek_monai.fields.invert`, voxel by voxel.

    The equation `v(x) = -u(x + v(x))` of a voxel knows no other voxel. Here each is left as soon as it is solved, which
    most are after a few iterations, and the memory is that of the result.

    Args:
        ddf: displacement field `u` `(1, 3, D, H, W)`, in voxels, on the CPU; beyond the grid its border continues.
        iterations: largest number of them.
        tolerance: residual in voxels below which a voxel is left, with a last correction.
        start: first guess `(1, 3, D, H, W)`, which is overwritten; `-u` if left out.

    Returns:
        The inverse field `(1, 3, D, H, W)`, in voxels, float32.

    Raises:
        TypeError: when `ddf` is not floating point.
        ValueError: when `ddf` has the wrong shape, an axis has a single voxel, or `start` has another shape.

    Example:
        >>> invert_by_voxel(torch.full((1, 3, 4, 4, 4), 0.5))[0, :, 0, 0, 0]
        tensor([-0.5000, -0.5000, -0.5000])
    """
    ddf = check_ddf(ddf, "invert_by_voxel", "ddf").float()
    if len(ddf) != 1 or (start is not None and start.shape != ddf.shape):
        raise ValueError(
            f"invert_by_voxel() 'ddf' and 'start' must be one field (1, 3, D, H, W), got {list(ddf.shape)} and"
            f" {None if start is None else list(start.shape)}"
        )
    inverse = -ddf if start is None else start.float().contiguous()
    flat = inverse[0].flatten(1)
    blocks = range(0, flat.shape[1], _BLOCK)
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(lambda first: _solve(ddf, flat, first, iterations, tolerance), blocks))
    return inverse


def _solve(ddf: torch.Tensor, inverse: torch.Tensor, first: int, iterations: int, tolerance: float) -> None:
    """Improve a block of the inverse `(3, D * H * W)` in place."""
    depth, height, width = ddf.shape[2:]
    index = torch.arange(first, min(first + _BLOCK, inverse.shape[1]))
    plane = height * width
    voxel = torch.stack((index // plane, index // width % height, index % width)).to(ddf)
    scale = 2.0 / (torch.tensor([[depth], [height], [width]]) - 1).to(ddf)
    value = inverse[:, index[0] : index[-1] + 1]
    damping, last = torch.ones(len(index)), torch.full((len(index),), torch.inf)
    for iteration in range(iterations):
        # grid_sample() wants (W, H, D), with -1 and 1 at the centres of the first and the last voxel
        where = torch.add(voxel, value).mul_(scale).sub_(1.0).flip(0).T[None, None, None]
        found = F.grid_sample(ddf, where, mode="bilinear", padding_mode="border", align_corners=True)
        difference = found[0, :, 0, 0].add_(value)
        length = difference.square().sum(0).sqrt_()
        if iteration:
            damping = torch.where(length > SLOW * last, (damping * 0.7).clamp(min=0.2), damping)
            value = value - damping * difference
            inverse.index_copy_(1, index, value)
        else:
            value -= difference  # in place
        rest = torch.nonzero(length > tolerance)[:, 0]
        if not len(rest):
            break
        index, last, damping = index[rest], length[rest], damping[rest]
        voxel, value = voxel.index_select(1, rest), value.index_select(1, rest)
