"""DIPY: the two fields of ``write_mapping``, of which the first brings the moving image to the static one."""

from __future__ import annotations

import numpy as np

from morphseek_monai.base.errors import DataError
from morphseek_monai.spatial.point_map import PointMap

from .base import Format, Source, field_of_displacements, finite

__all__ = ["FORMAT"]


def _recognises(source: Source) -> bool:
    return source.nifti is not None and source.nifti.shape[3:] == (3, 2)


def _read(source: Source) -> PointMap:
    """The affine in the header is the inverse of the moving image's, so the grid comes from the static image."""
    if not _recognises(source):
        raise DataError(f"transform {source.path} must be DIPY's mapping, (X, Y, Z, 3, 2); write it with write_mapping")
    if source.fixed is None:
        raise DataError(
            f"transform {source.path} is DIPY's mapping, which does not tell its grid; convert it with the static"
            " image: morphseek convert-transform IN OUT --fixed STATIC"
        )
    values = np.asarray(source.nifti.dataobj[..., 0], dtype=np.float64)
    if values.shape[:3] != source.fixed.size:
        raise DataError(
            f"transform {source.path} must have the static image's size {source.fixed.size}, got {values.shape[:3]};"
            " give the image that was registered as static"
        )
    return PointMap((field_of_displacements(finite(values, source.path), source.fixed),))


FORMAT = Format("dipy", _recognises, _read)
