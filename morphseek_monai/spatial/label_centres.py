"""Labels smaller than a voxel, such as electrodes: their centres carried to another grid."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from morphseek_monai.space.grid import Grid

from .point_map import slabs
from .transform import to_ddf

__all__ = ["carry_centres"]

REACH = 0.75  # of a voxel along each axis: how far from its centre a voxel of the grid holds a mark


def carry_centres(
    array: NDArray[Any], affine: NDArray[Any], transform: Any, grid: Grid, outside: float = 0.0
) -> NDArray[Any]:
    """A map with one voxel for each label: that in which the label's centre of mass comes to lie.

    Nearest neighbour asks each voxel of the grid what lies there and steps over labels between them; this asks each
    label where it goes. A transform gives the other direction, so the voxel is looked for whose place is nearest.

    Args:
        array: ``(X, Y, Z)`` ids, 0 is background.
        affine: ``(4, 4)`` voxel -> RAS mm of ``array``.
        transform: points of ``grid`` -> points of ``array``'s image.
        grid: of the output.
        outside: value of all other voxels.

    Returns:
        ``(X, Y, Z)`` of ``grid``, in the type of ``array``. A label whose centre lies beyond the grid is not in it; of
        two in one voxel the larger id stays.
    """
    result = np.full(grid.size, outside, dtype=array.dtype)
    ids, ranks = np.unique(array, return_inverse=True)
    labels = np.flatnonzero(ids != 0)
    if not len(labels):
        return result
    ranks = ranks.reshape(array.shape)
    centres = np.array(ndimage.center_of_mass(np.ones(array.shape), ranks, labels))
    into = np.linalg.solve(grid.affine, affine)
    wanted = centres @ into[:3, :3].T + into[:3, 3]  # in voxels of the grid
    field = to_ddf(transform, grid)[0].numpy()
    for label, place in zip(ids[labels], wanted):
        voxel = _nearest(field, place, grid)
        if _within(field, voxel, place):
            result[voxel] = label
    return result


def _nearest(field: NDArray[Any], wanted: NDArray[Any], grid: Grid) -> tuple[int, ...]:
    """The voxel whose place ``x + u(x)`` is nearest to a wanted one, all in voxels of the grid."""
    best, found = np.inf, (0, 0, 0)
    axes = [np.arange(n, dtype=np.float32) for n in grid.size]
    for part in slabs(grid):
        lattice = (axes[0][part, None, None], axes[1][None, :, None], axes[2][None, None, :])
        squares = sum((field[axis, part] + lattice[axis] - np.float32(wanted[axis])) ** 2 for axis in range(3))
        least = int(np.argmin(squares))
        if squares.flat[least] < best:
            best = float(squares.flat[least])
            where = np.unravel_index(least, squares.shape)
            found = (int(where[0]) + part.start, int(where[1]), int(where[2]))
    return found


def _within(field: NDArray[Any], voxel: tuple[int, ...], wanted: NDArray[Any]) -> bool:
    """Whether a place lies in the voxel that is nearest to it, as the map stretches it there."""
    matrix = np.eye(3)
    for axis in range(3):
        before, after = max(voxel[axis] - 1, 0), min(voxel[axis] + 1, field.shape[axis + 1] - 1)
        index = [slice(n, n + 1) for n in voxel]
        index[axis] = slice(None)
        line = field[:, index[0], index[1], index[2]].reshape(3, -1)
        matrix[:, axis] += (line[:, after] - line[:, before]) / max(after - before, 1)
    apart = wanted - (np.array(voxel) + field[:, voxel[0], voxel[1], voxel[2]])
    try:
        return bool((np.abs(np.linalg.solve(matrix, apart)) <= REACH).all())
    except np.linalg.LinAlgError:
        return False
