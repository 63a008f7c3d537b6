"""SPM: deformations (``y_*.nii``, ``iy_*.nii``), images of the place in RAS mm that each voxel comes from."""

from __future__ import annotations

from morphseek_monai.base.errors import DataError
from morphseek_monai.spatial.point_map import PointMap

from .base import Format, Source, field_of_places, looks_absolute, vectors

__all__ = ["FORMAT"]

NAME = "Mapping"


def _recognises(source: Source) -> bool:
    if not source.vectors:
        return False
    named = source.nifti.header.get_intent("label")[2] == NAME
    return named or (source.name.startswith(("y_", "iy_")) and source.nifti.shape[3:] == (1, 3))


def _read(source: Source) -> PointMap:
    if not source.vectors:
        raise DataError(f"transform {source.path} must be a deformation of SPM, (X, Y, Z, 1, 3); give y_NAME.nii")
    values = vectors(source)
    if not looks_absolute(values, source.grid):
        raise DataError(
            f"transform {source.path} must hold places in mm as SPM's deformations do, got displacements; rename it, or"
            " write itk-field:PATH"
        )
    return PointMap((field_of_places(values, source.grid),))


FORMAT = Format("spm", _recognises, _read)
