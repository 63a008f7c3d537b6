"""Affine maps from the transform files of any program."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphseek_monai.base.errors import DataError
from morphseek_monai.space.grid import Grid
from morphseek_monai.spatial.files.transform_file import read_map
from morphseek_monai.spatial.formats.base import linear_part
from morphseek_monai.spatial.formats.matrix import check_matrix
from morphseek_monai.spatial.point_map import PointMap
from morphseek_monai.spatial.transform import members, point_map

__all__ = ["check_affine_matrix", "read_affine"]

Array = NDArray[np.float64]


def read_affine(path: str | os.PathLike[str], fixed: Grid | None = None, moving: Grid | None = None) -> Array:
    """Read an affine map as ``(4, 4)``, RAS mm, that maps points of the fixed image to points of the moving image.

    That is the direction in which every ITK program stores the transform that resamples the moving image onto the fixed
    one, ANTs' ``0GenericAffine.mat`` among them.

    Args:
        path: a file that :func:`~morphseek_monai.spatial.files.transform_file.read_transform` reads, with one linear
            transform, or several, of which the last acts first; a text of four rows of four numbers is in RAS mm, fixed
            -> moving, unless it is FLIRT's.
        fixed: grid of the fixed image, which FSL's and AFNI's files need.
        moving: grid of the moving image, likewise.

    Raises:
        DataError: the file is missing or something else, holds a displacement field or another deformation, or its
            matrix has other numbers than finite ones, another last row than ``0 0 0 1``, no inverse, or a reflection.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "shift.txt").write_text("1 0 0 5\\n0 1 0 0\\n0 0 1 0\\n0 0 0 1\\n")
        ...     read_affine(f"{folder}/shift.txt")[:, 3].tolist()
        [5.0, 0.0, 0.0, 1.0]
    """
    found = read_map(path, fixed, moving)
    chain = point_map(found)
    matrix = None if chain is None else linear_part(chain)
    if matrix is None:
        raise DataError(
            f"affine {path} must be linear, got a {_deformation(found)} in it; give the affine part alone, e.g. ANTs'"
            " 0GenericAffine.mat, or to register the whole as --initial_transform"
        )
    check_affine_matrix(path, matrix)
    return matrix


def check_affine_matrix(path: str | os.PathLike[str], matrix: Array, role: str = "affine") -> None:
    """Refuse a matrix that no alignment is.

    Args:
        path: where it comes from, for the message.
        matrix: ``(4, 4)``, RAS mm.
        role: what it is, for the message.

    Raises:
        DataError: it is no affine matrix of finite numbers, has no inverse, or mirrors.
    """
    check_matrix(Path(path), matrix)
    if np.linalg.cond(matrix[:3, :3]) > 1e6:
        raise DataError(f"{role} {path} must have an inverse, got {matrix[:3, :3].tolist()}; write it again")
    if np.linalg.det(matrix[:3, :3]) < 0:
        raise DataError(
            f"{role} {path} must not mirror, got the determinant {np.linalg.det(matrix[:3, :3]):.3g}; correct the"
            " sign of an axis"
        )


def _deformation(found: Any) -> str:
    """The kind of what is not linear in it."""
    if isinstance(found, PointMap):
        return "displacement field"
    return str(next(member.GetNameOfClass() for member in members(found) if not member.IsLinear()))
