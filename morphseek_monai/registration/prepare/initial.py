"""The map that a registration starts from, where the user gives one that may deform."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from morphseek_monai.base.errors import DataError
from morphseek_monai.space.grid import Grid
from morphseek_monai.spatial.coverage import uncovered
from morphseek_monai.spatial.files.affine_file import check_affine_matrix
from morphseek_monai.spatial.files.transform_file import read_map
from morphseek_monai.spatial.point_map import Field, PointMap
from morphseek_monai.spatial.transform import point_map, to_ddf

__all__ = ["Initial", "read_initial"]


class Initial(NamedTuple):
    """Where a registration starts.

    Attributes:
        name: the file, or ``"given"``.
        points: of the fixed -> of the moving image, RAS mm; None where ``affine`` is all of it.
        affine: its linear part ``(4, 4)``: its matrices, without the fields between them.
        notices: remarks for the user.
    """

    name: str
    points: PointMap | None
    affine: NDArray[np.float64]
    notices: tuple[str, ...] = ()


def read_initial(source: Any, fixed: Grid, moving: Grid) -> Initial:
    """Read an initial transform; a linear one is as good as an affine.

    Args:
        source: a file of any program, see :func:`~morphseek_monai.spatial.files.transform_file.read_map`, a matrix
            ``(4, 4)`` in RAS mm, a :class:`~morphseek_monai.spatial.point_map.PointMap` or an ITK transform: points of
            the fixed -> points of the moving image.
        fixed: grid of the fixed image. A transform that only ITK knows, as B-splines, is sampled on it.
        moving: grid of the moving image.

    Raises:
        DataError: it cannot be read, or its linear part mirrors or has no inverse.
    """
    is_file = isinstance(source, str | os.PathLike)
    name = os.fspath(source) if is_file else "given"
    if isinstance(source, np.ndarray | list):
        source = PointMap((_matrix(source),))
    if not is_file and not isinstance(source, PointMap) and not hasattr(source, "TransformPoint"):
        raise DataError(
            f"initial_transform must be a file, a (4, 4) matrix, a PointMap or an ITK transform, got"
            f" {type(source).__name__}; correct it"
        )
    found = read_map(source, fixed, moving) if is_file else source
    points = point_map(found)
    if points is None:
        points = PointMap((Field(to_ddf(found, fixed), fixed),))
    affine: NDArray[np.float64] = np.eye(4)
    for one in points.maps:
        affine = affine if isinstance(one, Field) else one @ affine
    check_affine_matrix(name, affine, "initial_transform")
    if not any(isinstance(one, Field) for one in points.maps):
        return Initial(name, None, affine)
    missing = uncovered(points, fixed)
    if missing == 1:
        raise DataError(
            f"initial_transform {name} lies elsewhere: its field covers nothing of the fixed image; give the transform"
            " of this pair, points of the fixed to points of the moving image"
        )
    beyond = f"initial_transform {name}: {100 * missing:.0f} % of the fixed image lie beyond its field, taken for 0"
    return Initial(name, points, affine, (beyond,) if missing >= 0.005 else ())


def _matrix(source: Any) -> NDArray[np.float64]:
    matrix = np.asarray(source, dtype=np.float64)
    if matrix.shape != (4, 4):
        raise DataError(f"initial_transform must be a (4, 4) matrix, RAS mm, got shape {matrix.shape}; correct it")
    return matrix
