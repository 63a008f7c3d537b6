"""Bring what was computed on the network's grid to the fixed image's own grid."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morphseek_monai.fields import invert_by_voxel, transfer_ddf
from morphseek_monai.space.grid import Grid
from morphseek_monai.spatial.invert import InverseError
from morphseek_monai.spatial.point_map import Field, PointMap, as_is, interpolate
from morphseek_monai.spatial.transform import resample, to_ddf

COARSE_ITERATIONS = 20  # on a coarse grid
FINE_ITERATIONS = 4  # from there, on the grid of the result
FINE_TOLERANCE = 0.02  # voxel, before the last correction, which at least halves it
MOST_POINTS = 400_000  # at which the inverse is measured


class NativeField(NamedTuple):
    """A field and its inverse on one grid.

    Attributes:
        ddf: ``(1, 3, X, Y, Z)`` in voxels of ``grid``.
        inverse: likewise, the inverse of ``x + u(x)``.
        grid: the fixed image's, or a coarser one over the same field of view.
        inverse_error: mm over the fixed foreground.
    """

    ddf: Tensor
    inverse: Tensor
    grid: Grid
    inverse_error: InverseError


def native_field(ddf: Tensor, network_grid: Grid, grid: Grid, foreground: Tensor) -> NativeField:
    """Interpolate a field linearly from one grid to another, and invert it there.

    The inverse is first computed on a grid of at most half the resolution, an eighth of the work, and refined on the
    other; both leave a voxel as soon as it is solved to about a hundredth of one.

    Args:
        ddf: ``(1, 3, D, H, W)`` in voxels of ``network_grid``; beyond that, the displacement of its edge continues.
        network_grid: RAS; it may be ``grid`` itself or a part of it.
        grid: RAS.
        foreground: ``(1, 1, D, H, W)`` bool, where the error is measured, at no more than some hundred thousand points.
    """
    ddf = ddf.detach().float().cpu()
    on_grid = ddf.clone() if as_is(network_grid, grid) else transfer(ddf, network_grid, grid)
    half = grid.coarsened(2)
    start, coarse = ddf, network_grid
    if 2 * math.prod(half.size) < math.prod(network_grid.size) and min(half.size) > 1:
        start, coarse = transfer(on_grid, grid, half), half
    guess = transfer(invert_by_voxel(start, COARSE_ITERATIONS), coarse, grid)
    inverse = invert_by_voxel(on_grid, FINE_ITERATIONS, FINE_TOLERANCE, guess)
    return NativeField(on_grid, inverse, grid, _inverse_error(on_grid, inverse, grid, network_grid, foreground))


def transfer(ddf: Tensor, source: Grid, target: Grid) -> Tensor:
    """A field on another grid, in voxels of that, on the CPU; beyond the old grid its edge continues."""
    ddf = ddf.detach().float().cpu()
    return transfer_ddf(ddf, source.affine, source.affine, target.size, target.affine, target.affine)


def whole_field(
    ddf: Tensor, source: Grid, target: Grid, points: PointMap, affine: NDArray[np.float64]
) -> Tensor:
    """A field and the deforming map behind it as one field ``w``: ``affine(x + w(x)) = points(x + u(x))``.

    Args:
        ddf: ``u``, ``(1, 3, D, H, W)`` in voxels of ``source``; beyond that, the displacement of its edge continues.
        source: RAS.
        target: RAS.
        points: RAS mm, what the field was found on top of.
        affine: ``(4, 4)``, RAS mm.
    """
    own = Field(transfer(ddf, source, target), target)
    return to_ddf(PointMap((own, *points.maps, np.linalg.inv(affine))), target)


def _inverse_error(ddf: Tensor, inverse: Tensor, grid: Grid, network_grid: Grid, foreground: Tensor) -> InverseError:
    """How far from themselves points of the foreground come to lie, there and back by the fields that are written."""
    where = foreground[0, 0].cpu()
    known = (where if where.any() else torch.ones_like(where)).nonzero()
    voxels = known[:: -(-len(known) // MOST_POINTS)].double().numpy()
    into = np.linalg.solve(grid.affine, network_grid.affine)
    places = torch.from_numpy(into[:3, :3] @ voxels.T + into[:3, 3:])[:, None, :, None]
    forward = places + interpolate(ddf, places, None)
    residual = (forward + interpolate(inverse, forward, None) - places)[:, 0, :, 0].numpy()
    values = np.linalg.norm(grid.affine[:3, :3] @ residual, axis=0)
    p95 = float(np.percentile(values, 95))
    return InverseError(float(values.mean()), p95, float(values.max()), len(values))


def native_map(values: Tensor, network_grid: Grid, grid: Grid) -> NDArray[Any]:
    """Interpolate a scalar map ``(1, 1, D, H, W)`` to another grid, ``(X, Y, Z)``; zero beyond the network's grid."""
    array = values[0, 0].detach().float().cpu().numpy()
    return resample(array, network_grid.affine, PointMap(()), grid)


def border_displacement(ddf: Tensor, foreground: Tensor) -> float:
    """95th percentile of the displacement's length, voxels, over the outermost voxels of a grid of the foreground.

    Args:
        ddf: ``(1, 3, D, H, W)`` in voxels.
        foreground: ``(1, 1, D, H, W)`` bool, of the fixed image. Air may move as it likes; 0 without foreground there.
    """
    edge = foreground[0, 0].cpu().clone()
    edge[1:-1, 1:-1, 1:-1] = False
    lengths = torch.linalg.vector_norm(ddf[0].detach().float().cpu()[:, edge], dim=0)
    return float(torch.quantile(lengths, 0.95)) if len(lengths) else 0.0
