"""What a registration gives: images, transforms, numbers, and the files of all that."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from morphseek_monai.base.files import alone, removed
from morphseek_monai.base.records import write_json
from morphseek_monai.data.scans.scan import Scan, same_type, write_scan
from morphseek_monai.evaluation.verdict import Check
from morphseek_monai.registration.prepare.scan_set import MOST_CONTRASTS
from morphseek_monai.space.grid import Grid
from morphseek_monai.spatial.apply import warp_image
from morphseek_monai.spatial.files.transform_file import write_transform
from morphseek_monai.spatial.point_map import Field, PointMap
from morphseek_monai.spatial.transform import composite

if TYPE_CHECKING:
    from morphseek_monai.registration.report import ReportContent

LOG = logging.getLogger("morphseek")

# all that a registration may write; result.json first, since its presence means a complete folder
FILES = (
    "result.json",
    "warped.nii.gz",
    *(f"warped_{number}.nii.gz" for number in range(2, MOST_CONTRASTS + 1)),
    "transform.h5",
    "inverse.h5",
    "jacobian.nii.gz",
    "uncertainty.nii.gz",
    "report.html",
    "report.png",
)


@dataclass(frozen=True, eq=False)
class RegistrationResult:
    """A registered pair, ``phi(x) = A(x + u(x))`` from points of the fixed to points of the moving image.

    Attributes:
        fixed: the fixed scan.
        moving: the moving scan.
        warped_array: the moving scan on the fixed grid, ``(X, Y, Z)`` float32, resampled once.
        warped_others: its further contrasts likewise, each from its own grid.
        affine: ``A``, ``(4, 4)``, RAS mm.
        ddf: ``u``, ``(1, 3, X, Y, Z)`` in voxels of ``field_grid``.
        inverse_ddf: the inverse of ``x + u(x)``, likewise.
        field_grid: the fixed image's, or a coarser one over its field of view where memory was short.
        jacobian: determinant of ``x + u(x)`` on ``field_grid``; that of ``A`` is not in it.
        uncertainty: expected distance in mm between where a boundary was put and where it belongs, on ``field_grid``,
            see :func:`~morphseek_monai.inference.expected_error.expected_error`; None where it was not asked for.
        metrics: ``before``, ``affine`` (or ``initial``), ``after`` -> name -> value.
        checks: what the verdict was made from.
        verdict: ``"succeeded"``, ``"doubtful"`` or ``"failed"``.
        notices: remarks for the user, one line each.
        record: the content of ``result.json``.
        outside: value of ``warped_array`` where it comes from beyond the moving scan.
    """

    fixed: Scan
    moving: Scan
    warped_array: NDArray[np.float32]
    warped_others: Sequence[NDArray[np.float32]]
    affine: NDArray[np.float64]
    ddf: Tensor
    inverse_ddf: Tensor
    field_grid: Grid
    jacobian: NDArray[np.float32]
    uncertainty: NDArray[np.float32] | None
    metrics: Mapping[str, Mapping[str, float]]
    checks: Sequence[Check]
    verdict: str
    notices: Sequence[str]
    record: dict[str, Any]
    outside: float

    @property
    def warped(self) -> Any:
        """The moving image on the fixed image's grid, in the type that the fixed image was given in."""
        return same_type(self.warped_array, self.fixed.grid, self.fixed)

    @property
    def forward(self) -> PointMap:
        """Points of the fixed image -> points of the moving image."""
        return PointMap((Field(self.ddf, self.field_grid), self.affine))

    @property
    def backward(self) -> PointMap:
        """Points of the moving image -> points of the fixed image."""
        return PointMap((np.linalg.inv(self.affine), Field(self.inverse_ddf, self.field_grid)))

    @cached_property
    def transform(self) -> Any:
        """``itk.CompositeTransform``: points of the fixed image -> points of the moving image; made when asked for."""
        return composite(self.forward)

    @cached_property
    def inverse(self) -> Any:
        """``itk.CompositeTransform``: points of the moving image -> points of the fixed image; made when asked for."""
        return composite(self.backward)

    def warp(self, image: Any, interpolation: str = "auto", outside: float | None = None) -> Any:
        """Carry another image of the moving subject, e.g. its labels, to the fixed grid.

        Args:
            image: a path, a NiBabel image, an ``itk.Image`` or a MetaTensor, on a grid of its own; a series is moved
                volume by volume.
            interpolation: ``auto`` (nearest for label maps, else linear), ``linear``, ``nearest``, ``bspline``,
                ``sinc``, ``points`` (the centre of each label).
            outside: value where the image has none; None takes what :func:`~morphseek_monai.spatial.apply.warp_scan`
                finds fit: 0, NaN, or air.

        Returns:
            an image on the fixed grid, in the type of ``image``.

        Raises:
            DataError: it cannot be read, an unknown interpolation, or ``auto`` where it is doubtful what it is.
        """
        scan, warped = warp_image(image, self.forward, self.fixed.grid, interpolation, outside, self.outside)
        for notice in (*scan.notices, *warped.notices):
            LOG.warning(notice)
        return same_type(warped.array, self.fixed.grid, scan)

    def map_points(self, points: Any, source: str = "fixed") -> NDArray[np.float64]:
        """Map points ``(N, 3)``, RAS mm, of the ``source`` image (``"fixed"`` or ``"moving"``) to the other one."""
        if source not in ("fixed", "moving"):
            raise ValueError(f"RegistrationResult.map_points() 'source' must be 'fixed' or 'moving', got {source!r}")
        return (self.forward if source == "fixed" else self.backward).map_points(points)

    def report_content(self) -> ReportContent:
        """What the report shows, all on the fixed grid."""
        from morphseek_monai.registration.shown import content_of  # loads matplotlib, which takes a second

        return content_of(self)

    def save(self, folder: str | os.PathLike[str], report: bool = True) -> None:
        """Write the files; ``result.json`` last, so that its presence means a complete folder.

        What is interrupted, or fails, leaves none of them, of an earlier registration neither. Of two processes with
        one folder the second waits, and replaces all.

        Args:
            folder: made if missing.
            report: False leaves out ``report.html`` and ``report.png``.

        Raises:
            DataError: the folder cannot be written.
        """
        folder = Path(os.path.abspath(folder))  # once and for all: libraries change the working folder
        with alone(folder), removed(folder / name for name in FILES):
            self._write(folder, report)

    def _write(self, folder: Path, report: bool) -> None:
        # compression takes as long as all the rest
        with ThreadPoolExecutor(1) as beside:
            transforms = [
                beside.submit(write_transform, folder / f"{name}.h5", points)
                for name, points in (("transform", self.forward), ("inverse", self.backward))
            ]
            write_scan(folder / "warped.nii.gz", self.warped_array, self.fixed.grid, self.fixed)
            for number, array in enumerate(self.warped_others, start=2):
                write_scan(folder / f"warped_{number}.nii.gz", array, self.fixed.grid, self.fixed)
            like = self.fixed if self.field_grid.same_as(self.fixed.grid) else None
            write_scan(folder / "jacobian.nii.gz", self.jacobian, self.field_grid, like)
            if self.uncertainty is not None:
                write_scan(folder / "uncertainty.nii.gz", self.uncertainty, self.field_grid, like)
            if report:
                from morphseek_monai.registration.report import write_report

                write_report(folder, self.report_content())
        for written in transforms:
            written.result()
        write_json(folder / "result.json", self.record)
