"""How much of a grid the displacement fields of a transform do not cover."""

from __future__ import annotations

from typing import Any

import numpy as np

from morphseek_monai.space.grid import Grid

from .point_map import Field, PointMap, inside, slabs
from .transform import point_map

__all__ = ["uncovered"]


def uncovered(transform: Any, grid: Grid) -> float:
    """Share of a grid's voxels that come to lie beyond a displacement field, where it is zero.

    Fields reach half a voxel around their outer voxels, as ITK's do.

    Args:
        transform: an ITK transform or a :class:`PointMap`; kinds that only ITK knows have no such border.
        grid: of the points.

    Returns:
        0 for a transform without fields, 1 where a field lies elsewhere.
    """
    chain = point_map(transform)
    if chain is None:
        return 0.0
    fields = [(number, one) for number, one in enumerate(chain.maps) if isinstance(one, Field)]
    missing = 0
    for part in slabs(grid) if fields else ():
        covered = np.ones((len(range(*part.indices(grid.size[0]))), *grid.size[1:]), dtype=bool)
        for number, field in fields:
            where = PointMap(chain.maps[:number]).places(grid, part, field.grid.affine)
            covered &= inside(where, field.grid.size).numpy()
        missing += int((~covered).sum())
    return missing / int(np.prod(grid.size))
