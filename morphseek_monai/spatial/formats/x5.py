"""X5, the draft of a BIDS format: NiTransforms' layout, read and written by it, and fslpy's, read by that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from morphseek_monai.base.errors import DataError
from morphseek_monai.base.files import atomic_output
from morphseek_monai.space.grid import Grid
from morphseek_monai.spatial.point_map import Field, PointMap

from .base import (
    Format,
    Source,
    Target,
    displacements_of,
    field_of_displacements,
    field_of_places,
    finite,
    optional,
    positions,
)
from .matrix import check_matrix
from .parts import linear_of_target, one_field

__all__ = ["FORMAT"]

_HDF5 = b"\x89HDF\r\n\x1a\n"


def _recognises(source: Source) -> bool:
    if not source.head.startswith(_HDF5):
        return False
    try:
        with h5py.File(source.path, "r") as file:
            return file.attrs.get("Format") in ("X5", b"X5")
    except OSError:
        return False


def _read(source: Source) -> PointMap:
    with h5py.File(source.path, "r") as file:
        kind = file.attrs.get("Type")
    if kind is not None:
        return _of_fslpy(source.path, kind)
    x5 = optional("nitransforms.io.x5", "nitransforms", source.path)
    nodes = x5.from_filename(source.path)
    if len(nodes) != 1:
        raise DataError(f"transform {source.path} must hold one transform, got {len(nodes)}; write one to a file each")
    return PointMap((_affine(nodes[0], source.path),))


def _affine(node: Any, path: Path) -> Any:
    if node.array_length != 1:
        raise DataError(f"transform {path} holds a series of {node.array_length} transforms; write one of them alone")
    if node.type == "linear":
        return check_matrix(path, np.asarray(node.transform, dtype=np.float64))
    kinds = ("displacements", "deformations")
    if node.type != "nonlinear" or node.representation not in kinds or node.domain is None:
        raise DataError(
            f"transform {path} must hold matrices and displacement fields, got {node.type} {node.representation};"
            " write it as a dense field"
        )
    grid = Grid.from_size(node.domain.size, node.domain.mapping)
    make = field_of_displacements if node.representation == "displacements" else field_of_places
    return make(finite(np.asarray(node.transform, dtype=np.float64), path), grid)


def _of_fslpy(path: Path, kind: str) -> PointMap:
    x5 = optional("fsl.transform.x5", "fslpy", path)
    if kind == "linear":
        matrix, _, _ = x5.readLinearX5(str(path))  # from FSL's source to its reference
        return PointMap((np.linalg.inv(check_matrix(path, np.asarray(matrix, dtype=np.float64))),))
    field = x5.readNonLinearX5(str(path))
    grid = Grid.from_size(field.shape[:3], field.voxToWorldMat)
    values = finite(np.asarray(field[:], dtype=np.float64), path)
    return PointMap((field_of_places(values if field.absolute else values + positions(grid), grid),))


def _write(target: Target) -> list[Path]:
    """One matrix, or one field of the whole: readers take the first transform of a file and leave the others."""
    x5 = optional("nitransforms.io.x5", "nitransforms", target.path)
    matrix = linear_of_target(target)
    part = _nonlinear(x5, one_field(target)) if matrix is None else _linear(x5, matrix, target.fixed)
    with atomic_output(target.path) as temporary:
        x5.to_filename(temporary, [part])
    return [target.path]


def _domain(x5: Any, grid: Grid) -> Any:
    return x5.X5Domain(grid=True, size=grid.size, mapping=grid.affine, coordinates="cartesian")


def _nonlinear(x5: Any, field: Field) -> Any:
    return x5.X5Transform(
        type="nonlinear",
        subtype="densefield",
        representation="displacements",
        transform=displacements_of(field).astype(np.float32),
        dimension_kinds=("space", "space", "space", "vector"),
        domain=_domain(x5, field.grid),
    )


def _linear(x5: Any, matrix: Any, grid: Grid | None) -> Any:
    return x5.X5Transform(
        type="linear",
        subtype="affine",
        representation="matrix",
        transform=matrix,
        dimension_kinds=("space", "space", "space", "vector"),
        domain=None if grid is None else _domain(x5, grid),
    )


FORMAT = Format("x5", _recognises, _read, _write)
