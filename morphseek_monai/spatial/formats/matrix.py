"""A 4 x 4 matrix as plain text in RAS mm, fixed to moving: of greedy, NiftyReg, MRtrix and NumPy."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from morphseek_monai.base.errors import DataError
from morphseek_monai.base.files import atomic_output
from morphseek_monai.spatial.point_map import PointMap

from .base import Format, Source, Target
from .parts import linear_of_target

__all__ = ["FORMAT", "MRTRIX_LINE", "read_matrix", "write_matrix"]

Array = NDArray[np.float64]

MOST_BYTES = 100_000  # of the file; sixteen numbers need few
MRTRIX_LINE = re.compile(r"^\s*(command_history|mrtrix_version|centre)\s*:", re.I)


def rows_of(text: str) -> list[list[float]] | None:
    """Numbers of every line, apart by white space or commas; ``#`` begins a comment. None where there are words."""
    lines = [line.split("#")[0].replace(",", " ").split() for line in text.splitlines() if not MRTRIX_LINE.match(line)]
    try:
        return [[float(word) for word in line] for line in lines if line]
    except ValueError:
        return None


def _recognises(source: Source) -> bool:
    text = source.text
    if not text or len(text) > MOST_BYTES or text.startswith("#Insight"):
        return False
    return rows_of(text) is not None


def read_matrix(path: Path, text: str | None) -> Array:
    """Four rows of four numbers.

    Raises:
        DataError: other rows, or a last one that is no ``0 0 0 1``, or numbers that are not finite.
    """
    rows = None if text is None else rows_of(text)
    if rows is None or [len(row) for row in rows] != [4, 4, 4, 4]:
        found = f"rows of {', '.join(str(len(row)) for row in rows[:6])} numbers" if rows else "none"
        raise DataError(f"affine {path} must hold four rows of four numbers, got {found}; write the matrix in full")
    return check_matrix(path, np.array(rows))


def check_matrix(path: Path, matrix: Array) -> Array:
    """The same matrix.

    Raises:
        DataError: its last row is no ``0 0 0 1``, or numbers are not finite.
    """
    if not np.isfinite(matrix).all():
        raise DataError(f"affine {path} must hold finite numbers, got {matrix.tolist()}; write it again")
    if not np.allclose(matrix[3], [0, 0, 0, 1], rtol=0, atol=1e-6):
        cure = "transpose it" if np.allclose(matrix[:, 3], [0, 0, 0, 1]) else "write an affine matrix"
        raise DataError(f"affine {path} must have the last row 0 0 0 1, got {matrix[3].tolist()}; {cure}")
    return matrix


def _read(source: Source) -> PointMap:
    """FLIRT's matrices look alike: where the file does not tell, the user must."""
    matrix = read_matrix(source.path, source.text)
    # greedy ends every row with a blank, which FLIRT does twice; others end with none
    trailing = all(line.endswith(" ") for line in (source.text or "").splitlines() if line.strip())
    if source.name.endswith(".mat") and not trailing:
        raise DataError(
            f"affine {source.path} may be FSL's (its own coordinates, moving to fixed) or in RAS mm (fixed to moving,"
            f" as greedy's); write fsl:{source.path} or ras:{source.path}"
        )
    return PointMap((matrix,))


def read_named(source: Source) -> PointMap:
    """Where the user says that it is in RAS mm."""
    return PointMap((read_matrix(source.path, source.text),))


def _write(target: Target) -> list[Path]:
    matrix = linear_of_target(target)
    if matrix is None:
        raise DataError(f"transform {target.path}: a text of 4 x 4 numbers holds no field; write --to itk-field")
    write_matrix(target.path, matrix)
    return [target.path]


def write_matrix(path: Path, matrix: Array) -> None:
    """Write four rows of four numbers, each row closed by a blank as greedy does, by which a ``.mat`` is told.

    Args:
        path: the file.
        matrix: ``(4, 4)``.
    """
    text = "".join(" ".join(f"{value:.17g}" for value in row) + " \n" for row in matrix.tolist())
    with atomic_output(path) as temporary:
        temporary.write_text(text, encoding="ascii")


FORMAT = Format("ras", _recognises, _read, _write)
