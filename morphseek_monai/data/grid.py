"""The grid of a scan: how many voxels, and where they lie in the body."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .doctor.header import corner_distance
from .nifti import GRID_TOLERANCE

__all__ = ["Grid"]


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
