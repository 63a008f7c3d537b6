"""AFNI: matrices (``.aff12.1D``) and warps of 3dQwarp, in DICOM's coordinates, which are LPS mm.

AFNI lays oblique images straight before it computes, so that both grids must be known where either may be oblique.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from morphseek_monai.base.errors import DataError
from morphseek_monai.base.files import atomic_output
from morphseek_monai.space.grid import Grid
from morphseek_monai.space.itk_image import RAS_TO_LPS
from morphseek_monai.spatial.point_map import PointMap

from .base import Format, Source, Target, displacements_of, field_of_displacements, vectors
from .field_image import VECTOR, nifti_of
from .matrix import check_matrix, rows_of
from .parts import linear_of_target, one_field

__all__ = ["FORMAT"]

_EXTENSION = 4  # NIfTI's code of AFNI's header extension
_TO_RAS = np.array([-1.0, -1.0, 1.0])
_STRAIGHT = np.cos(np.deg2rad(0.01))  # below that angle AFNI, too, takes an image for straight


def _recognises(source: Source) -> bool:
    if source.nifti is not None:
        return source.vectors and _warp_of_afni(source.nifti)
    return source.name.endswith(".1d") and source.text is not None


def _warp_of_afni(image: Any) -> bool:
    codes = [(entry.get_code(), entry.get_content()) for entry in image.header.extensions]
    return any(code == _EXTENSION and b"x_delta" in _bytes(content) for code, content in codes)


def _bytes(content: Any) -> bytes:
    return content if isinstance(content, bytes) else str(content).encode()


def _read(source: Source) -> PointMap:
    if source.nifti is not None:
        _refuse_oblique(source.grid, source.path)
        return PointMap((field_of_displacements(vectors(source) * _TO_RAS, source.grid),))
    fixed, moving = source.both("AFNI's matrix")
    rows = rows_of(source.text or "") or []
    if len(rows) == 3 and all(len(row) == 4 for row in rows):
        rows = [[number for row in rows for number in row]]
    if len(rows) != 1 or len(rows[0]) != 12:
        raise DataError(
            f"transform {source.path} must hold one row of 12 numbers, got {len(rows)} rows; of a series cut out one"
            " with 1dcat or cat_matvec"
        )
    lps = check_matrix(source.path, np.vstack([np.array(rows[0]).reshape(3, 4), [0, 0, 0, 1]]))
    return PointMap((np.linalg.inv(_straighten(moving)) @ RAS_TO_LPS @ lps @ RAS_TO_LPS @ _straighten(fixed),))


def _straighten(grid: Grid) -> NDArray[np.float64]:
    """RAS mm as the header has it -> RAS mm as AFNI sees it: first voxel and spacing stay, the axes become upright."""
    directions = grid.affine[:3, :3] / grid.spacing
    order = np.abs(directions).argmax(axis=0)
    if (np.abs(directions).max(axis=0) > _STRAIGHT).all():
        return np.eye(4)
    upright = np.eye(4)
    upright[:3, :3] = 0
    for axis, row in enumerate(order):
        upright[row, axis] = np.sign(directions[row, axis]) * grid.spacing[axis]
    upright[:3, 3] = grid.affine[:3, 3]
    return upright @ np.linalg.inv(grid.affine)


def _refuse_oblique(grid: Grid, path: Path) -> None:
    if not np.array_equal(_straighten(grid), np.eye(4)):
        raise DataError(
            f"transform {path} is on an oblique grid, which AFNI's warps ignore; resample the fixed image to an upright"
            " grid first (3dWarp -deoblique)"
        )


def _write(target: Target) -> list[Path]:
    """``.aff12.1D`` where the transform is linear, else a warp as 3dNwarpApply reads it, ``.nii`` or ``.nii.gz``."""
    path, matrix = target.path, linear_of_target(target)
    if matrix is not None:
        fixed, moving = target.both("AFNI's matrix")
        if path.suffix != ".1D":
            raise DataError(f"transform {path} must end in .aff12.1D, where AFNI keeps linear transforms; rename it")
        lps = RAS_TO_LPS @ _straighten(moving) @ matrix @ np.linalg.inv(_straighten(fixed)) @ RAS_TO_LPS
        numbers = " ".join(f"{value:.12g}" for value in lps[:3].ravel())
        with atomic_output(path) as temporary:
            text = f"# 3dAllineate matrices (DICOM-to-DICOM, row-by-row):\n{numbers}\n"
            temporary.write_text(text, encoding="ascii")
        return [path]
    if not path.name.endswith((".nii.gz", ".nii")):
        raise DataError(f"transform {path} must end in .nii.gz, of which AFNI reads warps; rename it")
    field = one_field(target)
    for grid in (field.grid, *(() if target.moving is None else (target.moving,))):
        _refuse_oblique(grid, path)
    image = nifti_of(displacements_of(field) * _TO_RAS, field.grid, VECTOR)
    labels = (
        '<?xml version="1.0" ?>\n<AFNI_attributes self_idcode="" NIfTI_nums="" ni_form="ni_group">\n'
        '<AFNI_atr ni_type="String" ni_dimen="1" atr_name="BRICK_LABS">"x_delta~y_delta~z_delta~"</AFNI_atr>\n'
        "</AFNI_attributes>\n"
    )
    image.header.extensions.append(nib.nifti1.Nifti1Extension(_EXTENSION, labels.encode()))
    with atomic_output(path) as temporary:
        nib.save(image, temporary)
    return [path]


FORMAT = Format("afni", _recognises, _read, _write)
