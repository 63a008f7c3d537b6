"""Bring what was computed on the network's grid to the fixed image's own grid."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morphseek_monai.data.grid import Grid
from morphseek_monai.fields import compose, ddf_to_world, displacement_magnitude, invert, transfer_ddf
from morphseek_monai.registration.transform import make_transform, resample

COARSE_ITERATIONS = 20  # on the network's grid
FINE_ITERATIONS = 3  # from there, on the grid of the result


class NativeField(NamedTuple):
    """A field and its inverse on one grid.

    Attributes:
        ddf: ``(1, 3, X, Y, Z)`` in voxels of ``grid``.
        inverse: likewise, the inverse of ``x + u(x)``.
        grid: the fixed image's, or a coarser one over the same field of view.
        inverse_error: ``{"mean": mm, "p95": mm, "max": mm}`` over the fixed tissue.
    """

    ddf: Tensor
    inverse: Tensor
    grid: Grid
    inverse_error: dict[str, float]


def native_field(ddf: Tensor, network_grid: Grid, grid: Grid, tissue: Tensor) -> NativeField:
    """Interpolate a field linearly from the network's grid to another one.

    The inverse is computed on the network's grid, an eighth of the work of a 1 mm one, and refined on the other.

    Args:
        ddf: ``(1, 3, D, H, W)`` in voxels of ``network_grid``.
        network_grid: RAS.
        grid: RAS.
        tissue: ``(1, 1, D, H, W)`` bool, where the error is measured.
    """
    ddf = ddf.detach().float().cpu()
    on_grid = _transfer(ddf, network_grid, grid)
    start = _transfer(invert(ddf, COARSE_ITERATIONS).ddf, network_grid, grid)
    inverse = invert(on_grid, FINE_ITERATIONS, start=start).ddf
    # the error is wanted at the network's points, with the fields that are written
    there, back = (_transfer(field, grid, network_grid) for field in (on_grid, inverse))
    residual = displacement_magnitude(ddf_to_world(compose(back, there), network_grid.affine))
    where = tissue[:, 0].cpu()
    values = residual[where if where.any() else torch.ones_like(where)].numpy()
    error = {"mean": float(values.mean()), "p95": float(np.percentile(values, 95)), "max": float(values.max())}
    return NativeField(on_grid, inverse, grid, error)


def _transfer(ddf: Tensor, source: Grid, target: Grid) -> Tensor:
    return transfer_ddf(ddf, source.affine, source.affine, target.size, target.affine, target.affine)


def native_map(values: Tensor, network_grid: Grid, grid: Grid) -> NDArray[Any]:
    """Interpolate a scalar map ``(1, 1, D, H, W)`` to another grid, ``(X, Y, Z)``; zero beyond the network's grid."""
    array = values[0, 0].detach().float().cpu().numpy()
    return resample(array, network_grid.affine, make_transform(np.eye(4), None, grid), grid)


def border_displacement(ddf: Tensor, grid: Grid) -> float:
    """95th percentile of the displacement's length, mm, over the outermost voxels of a field's grid."""
    magnitude = displacement_magnitude(ddf_to_world(ddf.detach().float().cpu(), grid.affine))[0]
    edge = torch.ones_like(magnitude, dtype=torch.bool)
    edge[1:-1, 1:-1, 1:-1] = False
    return float(torch.quantile(magnitude[edge], 0.95))
