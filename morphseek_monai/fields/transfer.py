"""Carry a displacement field from the grids it was computed on to other grids of the same two images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from .arguments import check_ddf
from .world import lps_affine, multiply

_SLAB = 16  # slices at a time: coordinates of a whole CT would cost more memory than its field
_STRAIGHT = 1e-9  # share of a matrix that rounding leaves where its axes are parallel
_STILL = 1e-6  # of a voxel


def transfer_ddf(
    ddf: torch.Tensor,
    affine: torch.Tensor | np.ndarray,
    moving_affine: torch.Tensor | np.ndarray,
    size: Sequence[int],
    to_affine: torch.Tensor | np.ndarray,
    to_moving_affine: torch.Tensor | np.ndarray,
) -> torch.Tensor:
    """Express a field on another grid of the fixed image, in voxels of another grid of the moving image.

    A network that sees cropped, turned and resized images pairs the *voxels* of two prepared grids: voxel `x` of
    the fixed grid shows what voxel `x + u(x)` of the moving grid shows, wherever the two lie in the scanner. With
    `F` and `M` the affines of the prepared images, the points that correspond are `F x` and `M (x + u(x))`. For
    voxel `y` of the new fixed grid, with `F'` and `M'` the new affines,

        u'(y) = inv(M') M (x + u(x)) - y    where x = inv(F) F' y

    so that `new_moving(y + u'(y))` shows what `moving(x + u(x))` showed. Both of these are of use:

    - `to_moving_affine` of the moving file: `u'` points into the moving file's array.
    - `to_moving_affine = to_affine`: `u'` is the displacement in space, in voxels of the new fixed grid;
      `ddf_to_world(u', to_affine)` gives it in millimetres.

    Where both images share one grid, old and new, and the new grid is the old one resized, this is `resize_ddf`.

    Args:
        ddf: displacement field `(B, 3, D, H, W)`, in voxels.
        affine: affine of its grid, that of the fixed image as prepared, voxel -> RAS mm, `(4, 4)`.
        moving_affine: affine of the moving image as prepared, `(4, 4)`.
        size: `[D', H', W']` of the new fixed grid.
        to_affine: affine of the new fixed grid, `(4, 4)`.
        to_moving_affine: affine of the new moving grid, `(4, 4)`.

    Returns:
        Displacement field `(B, 3, D', H', W')`; beyond the old grid, the displacement of its nearest edge
        continues.

    Raises:
        TypeError: when `ddf` is not floating point.
        ValueError: when a shape is wrong or an affine is not an invertible `(4, 4)` affine.

    Example:
        >>> ddf = torch.ones(1, 3, 4, 4, 4)
        >>> half = torch.diag(torch.tensor([0.5, 0.5, 0.5, 1.0]))
        >>> transfer_ddf(ddf, torch.eye(4), torch.eye(4), [8, 8, 8], half, half).unique()
        tensor([2.])
    """
    ddf = check_ddf(ddf, "transfer_ddf", "ddf")
    if len(size) != 3:
        raise ValueError(f"transfer_ddf() 'size' must be [D, H, W], got {list(size)}")
    fixed, moving, to_fixed, to_moving = (
        lps_affine(matrix, "transfer_ddf") for matrix in (affine, moving_affine, to_affine, to_moving_affine)
    )
    into = torch.linalg.solve(fixed, to_fixed)  # new fixed voxel -> old fixed voxel
    onto = torch.linalg.solve(to_moving, moving)  # old moving voxel -> new moving voxel
    upright = _upright(into)
    drift = onto @ into - torch.eye(4, dtype=torch.float64)  # new voxel -> how far its own place moves
    ends = torch.tensor([[0.0, 0.0, 0.0], [n - 1.0 for n in size]], dtype=torch.float64)
    stays = float((ends.abs() @ drift[:3, :3].abs().T + drift[:3, 3].abs()).max()) < _STILL
    if upright is not None and stays:
        vectors = multiply(onto[:3, :3], ddf)
        return _interpolate(vectors, upright, into, list(size))

    last = torch.tensor(ddf.shape[2:]).to(ddf) - 1
    result = ddf.new_empty((ddf.shape[0], 3, *size))
    for start in range(0, size[0], _SLAB):
        planes = torch.arange(start, min(start + _SLAB, size[0]))
        axes = torch.meshgrid(planes, torch.arange(size[1]), torch.arange(size[2]), indexing="ij")
        new = torch.stack(axes, dim=-1).to(ddf)  # (d, H', W', 3)
        old = _map(into, new)
        # grid_sample() wants (W, H, D), with -1 and 1 at the centres of the first and the last voxel
        where = (2 * old / last - 1).flip(-1).expand(ddf.shape[0], -1, -1, -1, -1)
        step = F.grid_sample(ddf, where, mode="bilinear", padding_mode="border", align_corners=True)
        target = _map(onto, old + step.permute(0, 2, 3, 4, 1))
        result[:, :, start : start + _SLAB] = (target - new).permute(0, 4, 1, 2, 3)
    return result


def _upright(into: torch.Tensor) -> list[int] | None:
    """For each new axis the old one that runs along it; None where the grids are turned against each other."""
    linear = into[:3, :3].abs()
    axes: list[int] = linear.argmax(dim=0).tolist()
    rest = linear.clone()
    rest[axes, range(3)] = 0
    return axes if sorted(axes) == [0, 1, 2] and float(rest.max()) < _STRAIGHT * float(linear.max()) else None


def _interpolate(ddf: torch.Tensor, axes: list[int], into: torch.Tensor, size: list[int]) -> torch.Tensor:
    """Trilinear interpolation along one axis after the other, a tenth of the work where the grids are parallel."""
    result = ddf.permute(0, 1, *(2 + axis for axis in axes))
    for new in (2, 1, 0):  # planes that lie together in memory last, when there is most of them
        old = into[axes[new]]
        count = result.shape[2 + new]
        where = (old[new] * torch.arange(size[new]) + old[3]).clamp(0, count - 1)
        if size[new] == count and bool((where - torch.arange(count)).abs().max() < _STILL):
            continue
        low = where.floor().long()
        weight = (where - low).to(ddf)
        high = (low + 1).clamp(max=count - 1)
        if new > 0:
            shape = [-1 if axis == new else 1 for axis in range(3)]
            first, second = (result.index_select(2 + new, index) for index in (low, high))
            result = first.lerp_(second, weight.reshape(shape))
        else:
            planes = result.new_empty((*ddf.shape[:2], *size))
            for plane, (one, other) in enumerate(zip(low.tolist(), high.tolist())):
                torch.lerp(result[:, :, one], result[:, :, other], weight[plane], out=planes[:, :, plane])
            result = planes
    return result.contiguous()


def _map(matrix: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Apply a `(4, 4)` affine to points `(..., 3)`; by single numbers, since TF32 would round a matmul()."""
    rows: list[list[float]] = matrix.tolist()
    x, y, z = points.unbind(-1)
    return torch.stack([r[0] * x + r[1] * y + r[2] * z + r[3] for r in rows[:3]], dim=-1)
