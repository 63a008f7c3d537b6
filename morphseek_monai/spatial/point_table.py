"""Files of points: CSV tables, and what 3D Slicer writes."""

from __future__ import annotations

import csv
import io
import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from morphseek_monai.base.errors import DataError
from morphseek_monai.base.files import atomic_output, require_file

__all__ = ["PointTable", "read_points", "write_points"]

_COLUMNS = {"xyz": None, "ras": "RAS", "lps": "LPS"}  # names of the coordinate columns -> the space that they tell
_FLIP = np.array([-1.0, -1.0, 1.0])
# 3D Slicer wrote numbers before 4.11
_SLICER_SPACES = {"0": "RAS", "1": "LPS", "RAS": "RAS", "LPS": "LPS"}


class PointTable(NamedTuple):
    """Points with everything else that their file says.

    Attributes:
        points: ``(N, 3)`` RAS mm.
        space: of the coordinates in the file, ``RAS`` or ``LPS``; they are written back in it.
        comments: lines in front of the table, as they are.
        rows: cells of every line, the header first where there is one.
        columns: numbers of the three coordinate columns.
        header: whether the first row names the columns (else a comment does).
    """

    points: NDArray[np.float64]
    space: str
    comments: list[str]
    rows: list[list[str]]
    columns: tuple[int, int, int]
    header: bool


def read_points(path: str | os.PathLike[str], space: str | None = None) -> PointTable:
    """Read a table of points in mm.

    Args:
        path: ``.csv`` with a header that has the columns x, y, z (or r, a, s or l, p, s, which name the space), or a
            ``.fcsv`` of 3D Slicer.
        space: ``RAS`` (NiBabel, 3D Slicer's window) or ``LPS`` (ITK, ANTs, most files of 3D Slicer). A file does
            not show which it is, and the wrong one mirrors the points, so it must be named where the file does not.

    Raises:
        DataError: no such file or columns; a cell that is no number; a space that is missing, unknown, or
            contradicts the file.
    """
    require_file(path, "points")
    _refuse_foreign(path)
    if space is not None and space not in ("RAS", "LPS"):
        raise DataError(f"points {path}: space must be RAS or LPS, got {space!r}; write --space RAS or --space LPS")
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"points {path} is no text file; give a CSV table with columns x,y,z") from error
    comments = [line for line in lines if line.startswith("#")]
    rows = [row for row in csv.reader(line for line in lines if not line.startswith("#")) if row]
    named = _comment(comments, "columns")
    names = named.split(",") if named else (rows[0] if rows else [])
    columns, told = _find_columns(path, names)
    told = _SLICER_SPACES.get(_comment(comments, "CoordinateSystem"), told)
    if space is not None and told is not None and space != told:
        raise DataError(f"points {path} says that it is in {told}, got --space {space}; leave the option out")
    known = told or space
    if known is None:
        raise DataError(
            f"points {path} does not tell its coordinates' space; write --space RAS (as NiBabel) or --space LPS"
            " (as ITK and ANTs): the wrong one mirrors the points"
        )
    values = [_numbers(path, n, row, columns) for n, row in enumerate(rows if named else rows[1:], start=1)]
    points = np.array(values, dtype=np.float64).reshape(-1, 3)
    return PointTable(points if known == "RAS" else points * _FLIP, known, comments, rows, columns, not named)


def write_points(path: str | os.PathLike[str], table: PointTable, points: NDArray[np.float64]) -> None:
    """Write a table again with other coordinates, everything else as it was.

    Args:
        path: the file; it appears whole or not at all.
        table: what :func:`read_points` returned.
        points: ``(N, 3)`` RAS mm, in the order of the table; written in its space, to a millionth of a millimetre.
    """
    values = points if table.space == "RAS" else points * _FLIP
    rows = [list(row) for row in table.rows]
    for row, point in zip(rows[table.header :], values, strict=True):
        for column, value in zip(table.columns, point, strict=True):
            row[column] = f"{value + 0.0:.6f}"  # + 0.0: no -0.000000
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    with atomic_output(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in table.comments) + text.getvalue(), encoding="utf-8")


def _refuse_foreign(path: str | os.PathLike[str]) -> None:
    """Name the files of points of other programs, with the way on."""
    with open(path, "rb") as file:
        head = file.read(4096)
    if b"markups-schema" in head:
        raise DataError(
            f"points {path} is a file of markups of 3D Slicer (.mrk.json); save them as .fcsv, or export a table (.csv)"
        )
    if re.match(rb"\s*(point|index)\s+\d+\s", head):
        raise DataError(
            f"points {path} is a list of points of elastix; write a table: the header x,y,z, the points below it in mm,"
            " and --space LPS"
        )
    if head.startswith(b"Point\t0\t;"):
        raise DataError(
            f"points {path} is the outputpoints.txt of transformix; write a table of its OutputPoint with the header"
            " x,y,z, and --space LPS"
        )


def _comment(comments: list[str], key: str) -> str:
    """The value of ``# key = value``; nothing where there is none."""
    found = [match.group(1) for line in comments if (match := re.match(rf"#\s*{key}\s*=\s*(.*\S)", line))]
    return found[0] if found else ""


def _find_columns(path: str | os.PathLike[str], names: list[str]) -> tuple[tuple[int, int, int], str | None]:
    plain = [name.strip().lower() for name in names]
    for letters, space in _COLUMNS.items():
        if all(plain.count(letter) == 1 for letter in letters):
            return (plain.index(letters[0]), plain.index(letters[1]), plain.index(letters[2])), space
    raise DataError(
        f"points {path} must have one header line with the columns x,y,z, got {','.join(names)!r:.80};"
        " add the line x,y,z"
    )


def _numbers(path: str | os.PathLike[str], number: int, row: list[str], columns: tuple[int, int, int]) -> list[float]:
    try:
        point = [float(row[column]) for column in columns]
    except (ValueError, IndexError):
        point = [np.nan]
    if not np.isfinite(point).all():
        raise DataError(
            f"points {path}: point {number} must have three finite numbers, got {','.join(row)!r:.80}; correct the line"
        )
    return point
