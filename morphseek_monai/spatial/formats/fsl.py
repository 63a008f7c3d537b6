"""FSL: matrices of FLIRT, and fields and coefficients of FNIRT, by fslpy.

FSL counts in millimetres from a corner of each image, along its own axes, the first reversed where the header has a
positive determinant. Both images must therefore be known.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from morphseek_monai.base.errors import DataError
from morphseek_monai.base.files import atomic_output
from morphseek_monai.space.grid import Grid
from morphseek_monai.spatial.point_map import PointMap

from .base import Format, Source, Target, field_of_places, finite, optional, positions
from .field_image import nifti_of
from .matrix import read_matrix
from .parts import linear_of_target, one_field

__all__ = ["FORMAT"]

FIELDS = {2006: "a FNIRT field", 2007: "FNIRT coefficients", 2009: "FNIRT coefficients"}  # NIfTI's codes of intent
DCT = 2008
TOPUP = (2016, 2017, 2018)
_FIELD = 2006
# FLIRT, unlike others, ends every number with two blanks
_FLIRT = re.compile(r"\A(?:[^\s]+  [^\s]+  [^\s]+  [^\s]+  \r?\n){4}\s*\Z")


def _recognises(source: Source) -> bool:
    if source.nifti is not None:
        return int(source.nifti.header["intent_code"]) in (*FIELDS, DCT, *TOPUP)
    return source.text is not None and _FLIRT.match(source.text) is not None


def _read(source: Source) -> PointMap:
    if source.nifti is None:
        fixed, moving = source.both("FSL's matrix")
        return PointMap((np.linalg.inv(_world(read_matrix(source.path, source.text), fixed, moving, source.path)),))
    intent = int(source.nifti.header["intent_code"])
    if intent in (DCT, *TOPUP):
        raise DataError(
            f"transform {source.path} holds FSL's coefficients of intent {intent}, which cannot be read; write a field"
            " with fnirtfileutils --in=COEFFICIENTS --out=FIELD --withaff"
        )
    fixed, moving = source.both(FIELDS.get(intent, "a FNIRT field"))
    fnirt = optional("fsl.transform.fnirt", "fslpy", source.path)
    spaces = [_space(grid, source.path) for grid in (moving, fixed)]
    field = fnirt.readFnirt(str(source.path), *spaces, intent=intent if intent in FIELDS else _FIELD)
    if intent in (2007, 2009):
        nonlinear = optional("fsl.transform.nonlinear", "fslpy", source.path)
        field = nonlinear.coefficientFieldToDeformationField(field)
    world = fnirt.fromFnirt(field, "world", "world")  # tells relative from absolute by their spread
    grid = Grid.from_size(world.shape[:3], world.voxToWorldMat)
    values = finite(np.asarray(world[:], dtype=np.float64), source.path)
    return PointMap((field_of_places(values if world.absolute else values + positions(grid), grid),))


def _space(grid: Grid, path: Path) -> Any:
    """An image without voxels, as fslpy wants it."""
    image = optional("fsl.data.image", "fslpy", path)
    header: Any = nib.Nifti1Header()  # type: ignore[no-untyped-call]
    header.set_data_shape(grid.size)
    header.set_zooms(grid.spacing)
    header.set_sform(grid.affine, code=1)
    header.set_qform(grid.affine, code=1)
    return image.Nifti(header)


def _world(matrix: NDArray[np.float64], fixed: Grid, moving: Grid, path: Path) -> NDArray[np.float64]:
    flirt = optional("fsl.transform.flirt", "fslpy", path)
    found: NDArray[np.float64] = flirt.fromFlirt(matrix, _space(moving, path), _space(fixed, path), "world", "world")
    return found


def _write(target: Target) -> list[Path]:
    """A matrix of FLIRT (``.mat``) where the transform is linear, else a relative FNIRT field (``.nii.gz``)."""
    fixed, moving = target.both("FSL's format")
    path, matrix = target.path, linear_of_target(target)
    spaces = [_space(grid, path) for grid in (moving, fixed)]
    if matrix is not None:
        if path.suffix != ".mat":
            raise DataError(f"transform {path} must end in .mat, where FSL keeps linear transforms; rename it")
        flirt = optional("fsl.transform.flirt", "fslpy", path).toFlirt(np.linalg.inv(matrix), *spaces, "world", "world")
        text = "".join("".join(f"{value:.12g}  " for value in row) + "\n" for row in flirt.tolist())
        with atomic_output(path) as temporary:
            temporary.write_text(text, encoding="ascii")
        return [path]
    if not path.name.endswith((".nii.gz", ".nii")):
        raise DataError(f"transform {path} must end in .nii.gz, where FSL keeps warp fields; rename it")
    field = one_field(target)
    places = np.moveaxis(np.indices(fixed.size, dtype=np.float64) + field.ddf[0].double().numpy(), 0, -1)
    scanner = places @ fixed.affine[:3, :3].T + fixed.affine[:3, 3]
    into = spaces[0].getAffine("world", "fsl")
    start = spaces[1].getAffine("voxel", "fsl")
    voxels = np.moveaxis(np.indices(fixed.size, dtype=np.float64), 0, -1)
    values = scanner @ into[:3, :3].T + into[:3, 3] - (voxels @ start[:3, :3].T + start[:3, 3])
    image: Any = nifti_of(values, fixed, _FIELD)
    image = nib.Nifti1Image(np.asarray(image.dataobj)[:, :, :, 0], None, image.header)  # type: ignore[no-untyped-call]
    with atomic_output(path) as temporary:
        nib.save(image, temporary)
    return [path]


FORMAT = Format("fsl", _recognises, _read, _write)
