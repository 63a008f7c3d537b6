"""A transform cut to the parts that other programs know: one field, and one affine behind it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from morphseek_monai.base.errors import DataError
from morphseek_monai.space.grid import Grid
from morphseek_monai.spatial.point_map import Field, PointMap
from morphseek_monai.spatial.transform import to_ddf

from .base import Target, linear_part

__all__ = ["field_and_affine", "linear_of_target", "one_field"]


def linear_of_target(target: Target) -> NDArray[np.float64] | None:
    """The transform as one matrix ``(4, 4)``, RAS mm; None where it is not linear."""
    return None if target.point_map is None else linear_part(target.point_map)


def field_and_affine(target: Target) -> tuple[Field | None, NDArray[np.float64]]:
    """A displacement field that acts first, and the affine that follows.

    What has another order (an inverse: first the affine, then the field) becomes one field on the fixed image's grid.

    Raises:
        DataError: that grid is needed, and not known.
    """
    matrix = linear_of_target(target)
    if matrix is not None:
        return None, matrix
    maps = () if target.point_map is None else target.point_map.maps
    if maps and isinstance(maps[0], Field):
        rest = linear_part(PointMap(maps[1:]))
        if rest is not None:
            return maps[0], rest
    return one_field(target), np.eye(4)


def one_field(target: Target) -> Field:
    """The whole transform as one displacement field, on the fixed image's grid or else on that of its own first field.

    Raises:
        DataError: neither is known.
    """
    grid = target.fixed or _own_grid(target.point_map)
    if grid is None:
        raise DataError(f"transform {target.path}: a displacement field needs a grid; give --fixed FIXED")
    return Field(to_ddf(target.transform, grid), grid)


def _own_grid(chain: PointMap | None) -> Grid | None:
    first = chain.maps[0] if chain is not None and chain.maps else None
    return first.grid if isinstance(first, Field) else None
