"""MRtrix: warps, images of the place in RAS mm that each voxel comes from. Its matrices are plain text in RAS mm."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from morphseek_monai.base.errors import DataError
from morphseek_monai.base.files import atomic_output
from morphseek_monai.spatial.point_map import PointMap

from .base import Format, Source, Target, displacements_of, field_of_places, looks_absolute, positions, vectors
from .field_image import nifti_of
from .matrix import read_named, write_matrix
from .parts import linear_of_target, one_field

__all__ = ["FORMAT"]


def _recognises(source: Source) -> bool:
    """4-D NIfTI without intent; whether it holds places shows when it is read."""
    return source.nifti is not None and source.nifti.shape[3:] == (3,) and int(source.nifti.header["intent_code"]) == 0


def _read(source: Source) -> PointMap:
    if source.nifti is None:
        return read_named(source)
    if not source.vectors:
        raise DataError(
            f"transform {source.path} must be of shape (X, Y, Z, 3), got {source.nifti.shape}; of the five axes of"
            " mrregister -nl_warp_full make one field: warpconvert IN warpfull2deformation OUT.nii"
        )
    values = vectors(source)
    if not looks_absolute(values, source.grid):
        raise DataError(
            f"transform {source.path} is a NIfTI of displacements whose header does not say of what kind; write"
            " itk-field:PATH after setting its intent to 1007 (LPS mm) or 1006 (RAS mm), or fsl:PATH"
        )
    return PointMap((field_of_places(values, source.grid),))


def _write(target: Target) -> list[Path]:
    """Text where the transform is linear, else a 4-D NIfTI of places, for ``mrtransform -warp``."""
    path, matrix = target.path, linear_of_target(target)
    if matrix is not None:
        if path.suffix != ".txt":
            raise DataError(f"transform {path} must end in .txt, where MRtrix keeps linear transforms; rename it")
        write_matrix(path, matrix)
        return [path]
    if not path.name.endswith((".nii.gz", ".nii")):
        raise DataError(f"transform {path} must end in .nii.gz, where MRtrix keeps warps; rename it")
    field = one_field(target)
    image = nifti_of(displacements_of(field) + positions(field.grid), field.grid, 0)
    places = nib.Nifti1Image(np.asarray(image.dataobj)[:, :, :, 0], None, image.header)  # type: ignore[no-untyped-call]
    with atomic_output(path) as temporary:
        nib.save(places, temporary)
    return [path]


FORMAT = Format("mrtrix", _recognises, _read, _write)
