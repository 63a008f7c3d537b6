"""The grid of a scan: how many voxels, and where they lie in the body."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["GRID_TOLERANCE", "Grid", "corner_distance", "corners"]

GRID_TOLERANCE = 1e-4  # of a voxel: header round-off, 1e-5 mm and the like, is no difference


class Grid(NamedTuple):
    """Size and place of a 3-D image.

    Attributes:
        size: voxels along the three array axes ``(X, Y, Z)``, in NiBabel's order.
        affine: ``(4, 4)`` float64, voxel -> RAS mm.

    Example:
        >>> grid = Grid((11, 21, 31), np.diag([2.0, 1.0, 3.0, 1.0]))
        >>> grid.spacing
        array([2., 1., 3.])
        >>> grid.centre
        array([10., 10., 45.])
        >>> grid.same_as(Grid((11, 21, 31), np.diag([2.0, 1.0, 3.000001, 1.0])))
        True
    """

    size: tuple[int, int, int]
    affine: NDArray[np.float64]

    @classmethod
    def from_size(cls, size: Sequence[Any] | NDArray[Any], affine: NDArray[Any]) -> Grid:
        """Make a grid of three numbers of any kind, an array's ``shape`` or a tensor's.

        Args:
            size: voxels along the three axes.
            affine: ``(4, 4)`` voxel -> RAS mm.
        """
        x, y, z = (int(n) for n in size)
        return cls((x, y, z), np.asarray(affine, dtype=np.float64))

    @property
    def spacing(self) -> NDArray[np.float64]:
        """Distance of neighbouring voxels along the three array axes ``(3,)``, in mm."""
        spacing: NDArray[np.float64] = np.linalg.norm(self.affine[:3, :3], axis=0)
        return spacing

    @property
    def centre(self) -> NDArray[np.float64]:
        """Middle of the grid ``(3,)``, in RAS mm; halfway between two voxels where an axis is even."""
        middle = (np.array(self.size) - 1) / 2
        centre: NDArray[np.float64] = self.affine[:3, :3] @ middle + self.affine[:3, 3]
        return centre

    @property
    def axes(self) -> NDArray[np.float64]:
        """The orthonormal axes nearest to the grid's own ``(3, 3)``, one a column; perhaps left-handed."""
        u, _, vt = np.linalg.svd(self.affine[:3, :3] / self.spacing)
        nearest: NDArray[np.float64] = u @ vt
        return nearest

    def coarsened(self, factor: float, stride: int = 1) -> Grid:
        """The same field of view in voxels ``factor`` times as large, around the same centre.

        Args:
            factor: on the spacing; 1 is the grid itself where its size fits ``stride``.
            stride: sizes are rounded up to multiples of it.
        """
        size = (np.ceil(np.array(self.size) / factor / stride) * stride).astype(int)
        scale = np.diag([factor, factor, factor, 1.0])
        scale[:3, 3] = ((np.array(self.size) - 1) - factor * (size - 1)) / 2
        return Grid.from_size(size, self.affine @ scale)

    def subdivided(self, times: NDArray[Any]) -> Grid:
        """The grid with every voxel cut into ``times`` ``(3,)`` along each axis."""
        cut = np.diag([*(1.0 / times), 1.0])
        cut[:3, 3] = (1.0 / times - 1.0) / 2
        return Grid.from_size(np.array(self.size) * times, self.affine @ cut)

    def contains(self, points: NDArray[Any]) -> NDArray[np.bool_]:
        """Which points ``(N, 3)``, RAS mm, the voxels cover: they reach half a voxel around their centres.

        Returns:
            ``(N,)``.

        Example:
            >>> Grid((4, 4, 4), np.diag([2.0, 2, 2, 1])).contains(np.array([[6.9, 0, 0], [7.1, 0, 0]]))
            array([ True, False])
        """
        voxels = (np.asarray(points) - self.affine[:3, 3]) @ np.linalg.inv(self.affine[:3, :3]).T
        within: NDArray[np.bool_] = ((voxels >= -0.5) & (voxels <= np.array(self.size) - 0.5)).all(axis=1)
        return within

    def same_as(self, other: Grid, tolerance: float = GRID_TOLERANCE) -> bool:
        """Whether another grid has the same voxels at the same places.

        Args:
            other: the grid to compare with.
            tolerance: largest distance at any of the eight corners, in voxels of this grid. The default, 1e-4,
                lets pass what storing a header in single precision changes.
        """
        if tuple(self.size) != tuple(other.size):
            return False
        return corner_distance(self.affine, other.affine, self.size) <= tolerance  # NaN is not


def corners(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Homogeneous voxel coordinates ``(4, 8)`` of a grid's outer corners, half a voxel outside the centres.

    Example:
        >>> corners((4, 4, 8))[:, -1]
        array([3.5, 3.5, 7.5, 1. ])
    """
    unit = np.indices((2, 2, 2)).reshape(3, 8)
    return np.concatenate([np.array(shape)[:, None] * unit - 0.5, np.ones((1, 8))])


def corner_distance(affine: NDArray[Any], other: NDArray[Any], shape: tuple[int, ...]) -> float:
    """Largest distance of two affines over the corners of a grid, in voxels of ``affine``; NaN if it is flat.

    Args:
        affine: ``(4, 4)`` voxel -> mm.
        other: likewise.
        shape: of the grid, three numbers.

    Example:
        >>> corner_distance(np.diag([2.0, 2, 2, 1]), np.diag([-2.0, 2, 2, 1]), (5, 5, 5))
        9.0
    """
    ends = corners(shape)
    try:
        return float(np.abs(np.linalg.solve(affine, other @ ends) - ends).max())
    except np.linalg.LinAlgError:
        return float("nan")
