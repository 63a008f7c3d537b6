"""What the data doctor knows about a file and a subject, and how it words a finding."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["ERROR", "LEVELS", "OK", "WARN", "FileReport", "Finding", "SubjectReport"]

ERROR, WARN, OK = LEVELS = ("ERROR", "WARN", "OK")


@dataclass(frozen=True)
class FileReport:
    """One file, read once.

    Attributes:
        path: the file.
        role: ``"image"``, ``"label"`` or ``"mask"``.
        error: why it cannot be used at all, with the cure; ``""`` for a file that was read. All else is empty
            where there is an error.
        shape: voxels ``(X, Y, Z)``.
        dtype: of the voxels in the file.
        spacing: edge lengths of a voxel, mm.
        axes: direction of the voxel axes, e.g. ``"RAS"``; ``"?"`` for an axis of no direction.
        affine: rows of the matrix voxel -> RAS mm that NiBabel takes.
        pixdim: the spacing as the header literally has it, which NiBabel repairs on reading; empty for other
            formats than NIfTI.
        codes: the header's qform and sform code; empty likewise.
        apart: the largest distance in voxels, over the corners, between the places that qform and sform give;
            NaN where the quaternion is none, None where not both are set.
        unit: what the header's lengths count in; ``spacing`` and ``affine`` are in mm whatever it is.
        low: smallest finite value.
        high: largest finite value.
        not_finite: number of NaN and infinite voxels.
        digest: hash of the voxels, the same for every way to store them.
        counts: voxels of each id, for a label map or mask of whole numbers.
        fraction: a value that is no whole number, None where there is none; not looked for in images.
        slices: the smallest extent, in voxels along an axis, of what is not 0; not looked for in images.
    """

    path: str
    role: str
    error: str = ""
    shape: tuple[int, ...] = ()
    dtype: str = ""
    spacing: tuple[float, ...] = ()
    axes: str = ""
    affine: tuple[tuple[float, ...], ...] = ()
    pixdim: tuple[float, ...] = ()
    codes: tuple[int, ...] = ()
    apart: float | None = None
    unit: str = "mm"
    low: float = float("nan")
    high: float = float("nan")
    not_finite: int = 0
    digest: str = ""
    counts: dict[int, int] = field(default_factory=dict)
    fraction: float | None = None
    slices: int = 0

    @property
    def matrix(self) -> NDArray[np.float64]:
        """``affine`` as ``(4, 4)``."""
        return np.array(self.affine, dtype=np.float64)

    @property
    def placed(self) -> bool:
        """Whether the affine maps voxels to places: finite and not flat."""
        return bool(self.affine and np.isfinite(self.affine).all() and abs(np.linalg.det(self.matrix[:3, :3])) > 1e-9)

    @property
    def volumes(self) -> dict[int, float]:
        """Millilitres of each id but the background."""
        if not self.placed:
            return {}
        voxel = abs(float(np.linalg.det(self.matrix[:3, :3]))) / 1000
        return {index: count * voxel for index, count in sorted(self.counts.items()) if index != 0}


@dataclass(frozen=True)
class SubjectReport:
    """One image of a person with its label map and mask.

    Attributes:
        id: name of the image, unique in a data set.
        subject: the person.
        modality: e.g. ``"0001"``; ``""`` where unknown.
        sides: ``("training",)``, ``("validation",)`` or both.
        image: the image.
        label: the label map, or None.
        mask: the mask, or None.
    """

    id: str
    subject: str
    modality: str
    sides: tuple[str, ...]
    image: FileReport
    label: FileReport | None = None
    mask: FileReport | None = None

    def files(self) -> Iterator[FileReport]:
        """The files that are listed, readable or not."""
        yield from (file for file in (self.image, self.label, self.mask) if file is not None)


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        level: ``"ERROR"`` breaks training or makes its results wrong, ``"WARN"`` deserves a look, ``"OK"``.
        check: short name of the check, e.g. ``"not_finite"``.
        where: ids of the images concerned; empty for the data set as a whole.
        what: what was found.
        cure: what to do about it; empty where nothing is to be done.
    """

    level: str
    check: str
    where: tuple[str, ...]
    what: str
    cure: str = ""
