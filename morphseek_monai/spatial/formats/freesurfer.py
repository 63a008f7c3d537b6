"""FreeSurfer: linear transforms (``.lta``) and warps (``.mgz``, and NIfTI of surfa and SynthMorph), by surfa."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from morphseek_monai.base.errors import DataError
from morphseek_monai.base.files import atomic_output
from morphseek_monai.space.grid import Grid
from morphseek_monai.spatial.point_map import PointMap

from .base import Format, Source, Target, displacements_of, field_of_displacements, finite, optional
from .field_image import DISPVECT, nifti_of
from .parts import linear_of_target, one_field

__all__ = ["FORMAT"]

IMAGES = (".mgz", ".mgh")


def _recognises(source: Source) -> bool:
    if source.name.endswith(IMAGES):
        return True
    return source.text is not None and "nxforms" in source.text[:400] and "type" in source.text[:400]


def _read(source: Source) -> PointMap:
    surfa = optional("surfa", "surfa", source.path)
    try:
        if source.name.endswith(IMAGES):
            return _warp(surfa.load_warp(str(source.path)), surfa, source.path)
        affine = surfa.load_affine(str(source.path))
    except (ValueError, IndexError, OSError, EOFError) as error:
        if "fromstring" in str(error):  # surfa 0.6.3 reads no .mgz with NumPy 2.3 and later
            raise DataError(
                f"transform {source.path} cannot be read by surfa with this NumPy; write the warp as NIfTI with"
                " mri_convert IN OUT.nii.gz"
            ) from error
        raise DataError(f"transform {source.path} cannot be read ({error}); write it again with lta_convert") from error
    if affine.source is None or affine.target is None:
        if affine.space != "world":
            raise DataError(
                f"transform {source.path} must name its two volumes, got none; write it again with lta_convert --src"
                " MOVING --trg FIXED"
            )
    else:
        affine = affine.convert(space="world")
    # from the source, which FreeSurfer moves, to the target
    return PointMap((np.linalg.inv(np.asarray(affine.matrix, dtype=np.float64)),))


def _warp(warp: Any, surfa: Any, path: Path) -> PointMap:
    if warp.source is None or warp.shape[-1] != 3:
        raise DataError(f"transform {path} must be a warp of FreeSurfer, got an image; write it with mri_warp_convert")
    warp = warp.convert(surfa.Warp.Format.disp_ras)
    grid = Grid.from_size(warp.baseshape, np.asarray(warp.target.vox2world.matrix, dtype=np.float64))
    return PointMap((field_of_displacements(finite(np.asarray(warp.data, dtype=np.float64), path), grid),))


def _write(target: Target) -> list[Path]:
    """An ``.lta`` (world to world) where the transform is linear, else a warp of displacements in RAS mm, ``.mgz`` or
    ``.nii.gz``.
    """
    fixed, moving = target.both("FreeSurfer's format")
    path, matrix = target.path, linear_of_target(target)
    if matrix is None and path.name.endswith(".nii.gz"):
        field = one_field(target)
        with atomic_output(path) as temporary:
            nib.save(nifti_of(displacements_of(field), field.grid, DISPVECT), temporary)
        return [path]
    surfa = optional("surfa", "surfa", path)
    source, goal = (_geometry(surfa, grid) for grid in (moving, fixed))
    if matrix is not None:
        if path.suffix != ".lta":
            raise DataError(f"transform {path} must end in .lta, where FreeSurfer keeps linear transforms; rename it")
        found: Any = surfa.Affine(np.linalg.inv(matrix), source=source, target=goal, space="world")
    else:
        if path.suffix != ".mgz":
            raise DataError(f"transform {path} must end in .mgz or .nii.gz, where FreeSurfer keeps warps; rename it")
        values = displacements_of(one_field(target)).astype(np.float32)
        found = surfa.Warp(values, source=source, target=goal, format=surfa.Warp.Format.disp_ras)
    with atomic_output(path) as temporary:
        found.save(str(temporary))
    return [path]


def _geometry(surfa: Any, grid: Grid) -> Any:
    return surfa.ImageGeometry(shape=grid.size, voxsize=grid.spacing, vox2world=grid.affine)


FORMAT = Format("freesurfer", _recognises, _read, _write)
