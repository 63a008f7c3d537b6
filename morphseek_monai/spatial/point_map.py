"""Maps of points as a registration finds them: matrices and displacement fields, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from morphseek_monai.space.grid import Grid

__all__ = ["Field", "PointMap", "as_is", "inside", "interpolate", "slabs"]

_SLAB_VOXELS = 2**17  # coordinates of so many stay in the processor's cache
_SAME = 1e-6  # of a voxel
_NOTHING = 1e-10  # what rounding leaves of a zero in the product of two matrices


class Field(NamedTuple):
    """A displacement field: linear between its voxels, constant over the outer half of the last, zero beyond, as ITK's.

    Attributes:
        ddf: ``(1, 3, X, Y, Z)`` in voxels of ``grid``.
        grid: where it lies.
    """

    ddf: Tensor
    grid: Grid


class PointMap(NamedTuple):
    """Points of one image -> points of another, RAS mm.

    It holds what was computed and nothing else; :func:`~morphseek_monai.spatial.transform.composite` makes an ITK
    transform of it.

    Attributes:
        maps: matrices ``(4, 4)`` and :class:`Field`, the **first acts first**.

    Example:
        >>> PointMap((np.diag([2.0, 1, 1, 1]),)).map_points([[1.0, 2, 3]])
        array([[2., 2., 3.]])
    """

    maps: tuple[NDArray[Any] | Field, ...]

    def map_points(self, points: Any) -> NDArray[np.float64]:
        """Map points ``(N, 3)``, RAS mm."""
        where = torch.from_numpy(np.array(points, dtype=np.float64).reshape(-1, 3)).T
        mapped = self._follow(where[:, None, :, None], np.eye(4), np.eye(4))[:, 0, :, 0]
        return np.ascontiguousarray(mapped.T.numpy())

    def places(self, grid: Grid, part: slice, affine: NDArray[Any], dtype: torch.dtype = torch.float32) -> Tensor:
        """Where the voxels of a grid are mapped to.

        Args:
            grid: of the points.
            part: of its first axis, of ``d`` planes.
            affine: ``(4, 4)``, voxel -> RAS mm of the image that the points are wanted in.
            dtype: of the result. Single precision is 1e-4 of a voxel; what is rounded wants double.

        Returns:
            ``(3, d, Y, Z)`` in voxels of that image.
        """
        axes = [torch.arange(n, dtype=dtype) for n in grid.size]
        lattice = torch.stack(torch.meshgrid(axes[0][part], axes[1], axes[2], indexing="ij"))
        first = self.maps[0] if self.maps else None
        if isinstance(first, Field) and as_is(first.grid, grid):
            lattice += first.ddf[0][:, part]
            return PointMap(self.maps[1:])._follow(lattice, first.grid.affine, affine)
        return self._follow(lattice, grid.affine, affine)

    def _follow(self, where: Tensor, source: NDArray[Any], target: NDArray[Any]) -> Tensor:
        """Map points ``(3, d, Y, Z)``, in voxels of ``source``, to voxels of ``target``."""
        pending = np.asarray(source, dtype=np.float64)
        for one in self.maps:
            if isinstance(one, Field):
                where = _apply(np.linalg.solve(one.grid.affine, pending), where)
                where = where + interpolate(one.ddf, where, 0.0)
                pending = one.grid.affine
            else:
                pending = one @ pending
        return _apply(np.linalg.solve(target, pending), where)


def slabs(grid: Grid) -> Iterator[slice]:
    """Cut a grid along its first axis into parts that are small enough for the processor's cache."""
    x, y, z = grid.size
    thickness = max(1, _SLAB_VOXELS // (y * z))
    return (slice(start, min(start + thickness, x)) for start in range(0, x, thickness))


def interpolate(volume: Tensor, where: Tensor, outside: float | None) -> Tensor:
    """Interpolate linearly between voxels.

    Args:
        volume: ``(1, C, X, Y, Z)``, sampled in single precision.
        where: ``(3, d, H, W)`` in voxels.
        outside: value of what lies more than half a voxel beyond the outer centres; up to there the border continues,
            and with None everywhere.

    Returns:
        ``(C, d, H, W)``.
    """
    size = volume.shape[2:]
    # grid_sample() wants (z, y, x), with -1 and 1 at the centres of the first and the last voxel
    scaled = [(where[axis] * (2.0 / max(size[axis] - 1, 1)) - 1.0).float() for axis in (2, 1, 0)]
    # planes as items of a batch, which share the volume: PyTorch spreads only those over the processors
    planes = torch.stack(scaled, dim=-1)[:, None]
    volumes = volume.expand(len(planes), -1, -1, -1, -1)
    found = F.grid_sample(volumes, planes, mode="bilinear", padding_mode="border", align_corners=True)
    found = found[:, :, 0].transpose(0, 1)
    return found if outside is None else torch.where(inside(where, size), found, outside)


def inside(where: Tensor, size: torch.Size | tuple[int, ...]) -> Tensor:
    """Which places ``(3, ...)`` an image of ``size`` covers: its voxels reach half a voxel around their centres."""
    within = torch.ones(where.shape[1:], dtype=torch.bool)
    for axis in range(3):
        within &= (where[axis] >= -0.5) & (where[axis] < size[axis] - 0.5)
    return within


def as_is(one: Grid, other: Grid) -> bool:
    """Whether two grids are one, up to rounding in double precision."""
    return one.same_as(other, _SAME)


def _apply(matrix: NDArray[Any], where: Tensor) -> Tensor:
    """A ``(4, 4)`` matrix on points ``(3, ...)``; by single numbers, since most of an upright grid's are zero."""
    rows = []
    for row in matrix[:3].tolist():
        terms = [value * where[axis] for axis, value in enumerate(row[:3]) if abs(value) > _NOTHING]
        rows.append(sum(terms[1:], start=terms[0]) + row[3])
    return torch.stack(rows)
