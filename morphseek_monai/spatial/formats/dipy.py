"""DIPY: the two fields of ``write_mapping``, of which the second brings the moving image to the static one."""

from __future__ import annotations

import numpy as np

from morphseek_monai.base.errors import DataError
from morphseek_monai.space.grid import Grid
from morphseek_monai.spatial.point_map import PointMap

from .base import Format, Source, field_of_displacements, finite

__all__ = ["FORMAT"]


def _recognises(source: Source) -> bool:
    return source.nifti is not None and source.nifti.shape[3:] == (3, 2)


def _read(source: Source) -> PointMap:
    """``x + backward(x)``; the matrix that ``prealign`` was, static to moving, follows it and is not in the file.

    The affine in the header is not the grid's but its inverse, RAS mm -> voxel of the static image.
    """
    if not _recognises(source):
        raise DataError(f"transform {source.path} must be DIPY's mapping, (X, Y, Z, 3, 2); write it with write_mapping")
    values = np.asarray(source.nifti.dataobj[..., 1], dtype=np.float64)
    grid = Grid.from_size(values.shape[:3], np.linalg.inv(source.nifti.affine))
    return PointMap((field_of_displacements(finite(values, source.path), grid),))


FORMAT = Format("dipy", _recognises, _read)
