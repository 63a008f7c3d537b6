"""Rows of the comparison in their CSV file: one a tool and pair, errors too."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from comparison.results import append_rows

from morphseek_monai.base.records import read_csv

from .tools import Tool


class Row(NamedTuple):
    """One tool on one pair, a line of the file.

    Attributes:
        set: name of the set of scans.
        split: ``tune`` or ``report``.
        fixed: id of the fixed scan.
        moving: id of the moving scan.
        tool: its name.
        dice: mean Dice (%) of all structures, the label map warped by the tool itself; NaN after an error, as all
            figures.
        inner_dice: the same over the inner structures.
        field_dice: the same over all as the displacement field warps them, which proves that ``njd`` is the tool's.
        njd: voxels (%) of the fixed grid whose Jacobian determinant is not positive, affine part included.
        hd95: mean 95th percentile Hausdorff distance, in ``unit``.
        unit: ``mm`` or ``voxels``.
        cpu_s: processor seconds, user and system, of the whole process.
        wall_s: wall seconds of the whole process.
        memory_mib: its peak of resident memory.
        threads: that the tool was given.
        version: package and version.
        settings: in words.
        note: a verdict.
        error: why there are no figures; else empty.
    """

    set: str
    split: str
    fixed: str
    moving: str
    tool: str
    dice: float
    inner_dice: float
    field_dice: float
    njd: float
    hd95: float
    unit: str
    cpu_s: float
    wall_s: float
    memory_mib: float
    threads: int
    version: str
    settings: str
    note: str = ""
    error: str = ""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What has one row: tool, set, fixed and moving."""
        return self.tool, self.set, self.fixed, self.moving


NUMBERS = ("dice", "inner_dice", "field_dice", "njd", "hd95", "cpu_s", "wall_s", "memory_mib")


class Rows:
    """The rows in a CSV file.

    Args:
        path: need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Row]:
        """All rows so far; of several with one key the last, which is a repetition after an error."""
        rows = [
            Row(**{**line, **{name: float(line[name]) for name in NUMBERS}, "threads": int(line["threads"])})
            for line in read_csv(self.path)
        ]
        return list({row.key: row for row in rows}.values())

    def append(self, row: Row) -> None:
        """Append one row."""
        append_rows(self.path, Row._fields, [[f"{cell:.6g}" if isinstance(cell, float) else cell for cell in row]])

    def require_same_conditions(self, tool: Tool, threads: int) -> None:
        """Refuse to mix rows of one name that were measured differently.

        Raises:
            ValueError: When the file has rows of the tool with another version, setting or number of threads.
        """
        now = (tool.version, tool.settings, threads)
        for row in self.read():
            if row.tool == tool.name and (row.version, row.settings, row.threads) != now:
                was = f"{row.version}, {row.settings}, {row.threads} thread(s)"
                raise ValueError(
                    f"{self.path} has rows of {tool.name} with {was}, now it is {tool.version}, {tool.settings}, "
                    f"{threads} thread(s); remove them, or take another file or name"
                )
