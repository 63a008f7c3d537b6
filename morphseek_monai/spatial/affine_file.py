"""Affine maps from files: of ITK, ANTs and 3D Slicer, and plain 4 x 4 text."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from morphseek_monai.base.errors import DataError
from morphseek_monai.base.files import require_file
from morphseek_monai.spatial.transform import linear_of, members
from morphseek_monai.spatial.transform_file import read_transform

__all__ = ["read_affine"]

Array = NDArray[np.float64]

MOST_BYTES = 100_000  # of a plain text file; sixteen numbers need few


def read_affine(path: str | os.PathLike[str]) -> Array:
    """Read an affine map as ``(4, 4)``, RAS mm, that maps points of the fixed image to points of the moving image.

    That is the direction in which every ITK program stores the transform that resamples the moving image onto the fixed
    one, ANTs' ``0GenericAffine.mat`` among them.

    Args:
        path: a transform file of ITK (``.h5``, ``.hdf5``, ``.tfm``, ``.txt``, ``.mat``; LPS mm, converted) with one
            linear transform, or several, of which the last acts first; or a text of four rows of four numbers, apart
            by white space or commas, in RAS mm, fixed -> moving. ``#`` begins a comment. FSL's FLIRT writes such a text
            too, but in coordinates and a direction of its own: convert it first (``c3d_affine_tool``).

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
    path = Path(path)
    require_file(path, "affine")
    matrix = _text_matrix(path)
    if matrix is None:
        matrix = _itk_matrix(path)
    _check(path, matrix)
    return matrix


def _text_matrix(path: Path) -> Array | None:
    """The numbers of a plain text file; None where it is no text of numbers."""
    raw = path.read_bytes()
    if b"\0" in raw or raw.startswith(b"#Insight Transform File") or len(raw) > MOST_BYTES:
        return None
    try:
        lines = [line.split("#")[0].replace(",", " ").split() for line in raw.decode("utf-8-sig").splitlines()]
        rows = [[float(word) for word in line] for line in lines if line]
    except ValueError:  # no UTF-8, or words
        return None
    if [len(row) for row in rows] != [4, 4, 4, 4]:
        found = f"rows of {', '.join(str(len(row)) for row in rows[:6])} numbers" if rows else "none"
        raise DataError(f"affine {path} must hold four rows of four numbers, got {found}; write the matrix in full")
    return np.array(rows)


def _itk_matrix(path: Path) -> Array:
    transform = read_transform(path)
    matrix: Array = np.eye(4)
    for member in members(transform):
        linear = linear_of(member)
        if linear is None:
            raise DataError(
                f"affine {path} must be linear, got a {member.GetNameOfClass()} in it; give the affine part alone, e.g."
                " ANTs' 0GenericAffine.mat"
            )
        matrix = matrix @ linear  # the member added last acts first
    return matrix


def _check(path: Path, matrix: Array) -> None:
    if not np.isfinite(matrix).all():
        raise DataError(f"affine {path} must hold finite numbers, got {matrix.tolist()}; write it again")
    if not np.allclose(matrix[3], [0, 0, 0, 1], rtol=0, atol=1e-6):
        cure = "transpose it" if np.allclose(matrix[:, 3], [0, 0, 0, 1]) else "write an affine matrix"
        raise DataError(f"affine {path} must have the last row 0 0 0 1, got {matrix[3].tolist()}; {cure}")
    if np.linalg.cond(matrix[:3, :3]) > 1e6:
        raise DataError(f"affine {path} must have an inverse, got {matrix[:3, :3].tolist()}; write it again")
    if np.linalg.det(matrix[:3, :3]) < 0:
        raise DataError(
            f"affine {path} must not mirror, got the determinant {np.linalg.det(matrix[:3, :3]):.3g}; correct the"
            " sign of an axis"
        )
