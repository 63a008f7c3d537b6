"""Rows of the comparison, and the two CSV files they are kept in."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from morphseek_monai.base.records import read_csv

STRUCTURE_FIELDS = ("tool", "fixed", "moving", "label", "structure", "dice_percent")
Dices = dict[tuple[str, str, str, str], float]


class Scores(NamedTuple):
    """Figures of one displacement field.

    Attributes:
        dice_percent: mean Dice of the structures that both images have, by the displacement field.
        own_dice_percent: the same with the labels warped by the tool's own program; NaN where there is none.
        njd_percent: voxels whose Jacobian determinant is not positive.
        sdlogj: standard deviation of the logarithm of the Jacobian determinant.
        sdlogj_l2r: the same as Learn2Reg computes it.
        hd95_mm: mean 95th percentile Hausdorff distance of the structures.
    """

    dice_percent: float
    own_dice_percent: float
    njd_percent: float
    sdlogj: float
    sdlogj_l2r: float
    hd95_mm: float


class Row(NamedTuple):
    """One tool on one pair, a line of the file; the six figures of :class:`Scores` are in it.

    Attributes:
        tool: its name in the comparison.
        version: package and version.
        settings: in words.
        fixed: id of the fixed image.
        moving: id of the moving image.
        seconds: wall time from the image files to the displacement field in voxels.
        threads: that the tool was given.
    """

    tool: str
    version: str
    settings: str
    fixed: str
    moving: str
    dice_percent: float
    own_dice_percent: float
    njd_percent: float
    sdlogj: float
    sdlogj_l2r: float
    hd95_mm: float
    seconds: float
    threads: int

    @property
    def pair(self) -> tuple[str, str]:
        """Ids of the fixed and the moving image."""
        return self.fixed, self.moving


NUMBERS = (*Scores._fields, "seconds")


class Results:
    """The results in ``tools.csv`` and the Dice of every structure in ``tools_structures.csv`` beside it.

    Args:
        path: the first of the two; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.structures_path = path.with_name(f"{path.stem}_structures{path.suffix}")

    def rows(self) -> list[Row]:
        """All rows so far."""
        return [
            Row(**{**row, **{name: float(row[name]) for name in NUMBERS}, "threads": int(row["threads"])})
            for row in read_csv(self.path)
        ]

    def structures(self) -> Dices:
        """Dice (%) by tool, fixed id, moving id and structure."""
        # a run that was stopped between the two files has written a pair's structures twice: the last count
        return {
            (row["tool"], row["fixed"], row["moving"], row["structure"]): float(row["dice_percent"])
            for row in read_csv(self.structures_path)
        }

    def done(self, tool: str) -> set[tuple[str, str]]:
        """Pairs that ``tool`` has been measured on."""
        return {row.pair for row in self.rows() if row.tool == tool}

    def require_same_conditions(self, tool: str, version: str, settings: str, threads: int) -> None:
        """Refuse to mix rows of one name that were measured differently.

        Raises:
            ValueError: When the file has rows of ``tool`` with another version, setting or number of threads.
        """
        now = (version, settings, threads)
        for row in self.rows():
            if row.tool == tool and (row.version, row.settings, row.threads) != now:
                raise ValueError(
                    f"{self.path} has rows of {tool} with {row.version}, {row.settings}, {row.threads} thread(s), now "
                    f"it is {version}, {settings}, {threads} thread(s); remove them or write another file"
                )

    def append(self, row: Row, structures: Mapping[int, float], names: Mapping[int, str]) -> None:
        """Append one row and its structures.

        Args:
            row: the row; it is written last, since it says that the pair is done.
            structures: Dice (%) by label id.
            names: of the structures by label id.
        """
        pair = (row.tool, row.fixed, row.moving)
        lines = [(*pair, label, names[label], f"{dice:.3f}") for label, dice in structures.items()]
        append_rows(self.structures_path, STRUCTURE_FIELDS, lines)
        append_rows(self.path, Row._fields, [[f"{cell:.6g}" if isinstance(cell, float) else cell for cell in row]])


def append_rows(path: Path, fields: Iterable[str], lines: Iterable[Iterable[Any]]) -> None:
    """Append lines to a CSV file, which begins with the names of its columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if file.tell() == 0:
            writer.writerow(fields)
        writer.writerows(lines)
