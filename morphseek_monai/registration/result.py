"""What a registration gives: images, transforms, numbers, and the files of all that."""

from __future__ import annotations

import json
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

from morphseek_monai.data.files import replacing
from morphseek_monai.data.grid import Grid
from morphseek_monai.data.scan import Scan, read_scan, same_type, write_scan
from morphseek_monai.registration.transform import make_transform, map_points, resample
from morphseek_monai.registration.transform_file import write_transform
from morphseek_monai.registration.verdict import Check

if TYPE_CHECKING:
    from morphseek_monai.registration.report import ReportView

OPTIONAL = ("uncertainty.nii.gz", "report.html", "report.png")  # files that not every registration writes


@dataclass(frozen=True, eq=False)
class RegistrationResult:
    """A registered pair, ``phi(x) = A(x + u(x))`` from points of the fixed to points of the moving image.

    Attributes:
        fixed: the fixed scan.
        moving: the moving scan.
        warped_array: the moving scan on the fixed grid, ``(X, Y, Z)`` float32, resampled once.
        affine: ``A``, ``(4, 4)``, RAS mm.
        ddf: ``u``, ``(1, 3, X, Y, Z)`` in voxels of ``field_grid``.
        inverse_ddf: the inverse of ``x + u(x)``, likewise.
        field_grid: the fixed image's, or a coarser one over its field of view where memory was short.
        jacobian: determinant of ``x + u(x)`` on ``field_grid``; that of ``A`` is not in it.
        uncertainty: spread of the displacement over the samples on ``field_grid`` in mm; None without samples.
        metrics: ``before``, ``affine``, ``after`` -> name -> value.
        checks: what the verdict was made from.
        verdict: ``"succeeded"``, ``"doubtful"`` or ``"failed"``.
        notices: remarks for the user, one line each.
        record: the content of ``result.json``.
        outside: value of ``warped_array`` where it comes from beyond the moving scan.
    """

    fixed: Scan
    moving: Scan
    warped_array: NDArray[np.float32]
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

    @cached_property
    def transform(self) -> Any:
        """``itk.CompositeTransform``: points of the fixed image -> points of the moving image."""
        return make_transform(self.affine, self.ddf, self.field_grid)

    @cached_property
    def inverse(self) -> Any:
        """``itk.CompositeTransform``: points of the moving image -> points of the fixed image."""
        inverse = make_transform(np.eye(4), self.inverse_ddf, self.field_grid)
        # the member added last acts first: the affine is undone before the field
        inverse.AddTransform(make_transform(np.linalg.inv(self.affine), None, self.field_grid).GetNthTransform(0))
        return inverse

    def warp(self, image: Any, interpolation: str = "auto") -> Any:
        """Carry another image of the moving subject, e.g. its labels, to the fixed grid.

        Args:
            image: a path, a NiBabel image, an ``itk.Image`` or a MetaTensor, on a grid of its own.
            interpolation: ``auto`` (nearest for label maps, else linear), ``linear``, ``nearest``, ``bspline``,
                ``sinc``.

        Returns:
            an image on the fixed grid, in the type of ``image``.
        """
        scan = read_scan(image, "label" if interpolation == "nearest" else "image")
        how = ("nearest" if scan.is_label else "linear") if interpolation == "auto" else interpolation
        array = resample(scan.array, scan.affine, self.transform, self.fixed.grid, how)
        return same_type(array, self.fixed.grid, scan)

    def map_points(self, points: Any, source: str = "fixed") -> NDArray[np.float64]:
        """Map points ``(N, 3)``, RAS mm, of the ``source`` image (``"fixed"`` or ``"moving"``) to the other one."""
        if source not in ("fixed", "moving"):
            raise ValueError(f"RegistrationResult.map_points() 'source' must be 'fixed' or 'moving', got {source!r}")
        return map_points(self.transform if source == "fixed" else self.inverse, np.asarray(points))

    def view(self) -> ReportView:
        """What the report shows, all on the fixed grid."""
        grid, moving = self.fixed.grid, self.moving
        placed = (
            resample(moving.array, moving.affine, make_transform(matrix, None, grid), grid, outside=self.outside)
            for matrix in (np.eye(4), self.affine)
        )
        before, aligned = placed
        at_fixed = _Nearest(self.field_grid, grid)
        from morphseek_monai.registration.report import ReportView

        return ReportView(
            title=f"{_short(moving.name)} to {_short(self.fixed.name)}",
            verdict=self.verdict,
            checks=self.checks,
            notices=self.notices,
            facts=_facts(self.record),
            metrics={
                stage: {name.replace("_", " "): value for name, value in values.items()}
                for stage, values in self.metrics.items()
            },
            affine=self.fixed.affine,
            fixed=self.fixed.array.astype(np.float32, copy=False),
            before=before,
            aligned=aligned,
            warped=self.warped_array,
            ddf=np.stack([at_fixed(c.numpy()) * at_fixed.scale[a] for a, c in enumerate(self.ddf[0])]),
            jacobian=at_fixed(self.jacobian),
            uncertainty=None if self.uncertainty is None else at_fixed(self.uncertainty),
        )

    def save(self, folder: str | os.PathLike[str], report: bool = True) -> None:
        """Write the files; ``result.json`` last, so that its presence means a complete folder.

        Args:
            folder: made if missing.
            report: False leaves out ``report.html`` and ``report.png``.

        Raises:
            DataError: the folder cannot be written.
        """
        folder = Path(folder)
        for name in ("result.json", *OPTIONAL):  # of an earlier registration
            (folder / name).unlink(missing_ok=True)
        # HDF5's compression takes as long as all the rest; one thread for both files, since the library wants no more
        with ThreadPoolExecutor(1) as beside:
            transforms = [
                beside.submit(write_transform, folder / f"{name}.h5", transform)
                for name, transform in (("transform", self.transform), ("inverse", self.inverse))
            ]
            write_scan(folder / "warped.nii.gz", self.warped_array, self.fixed.grid, self.fixed)
            like = self.fixed if self.field_grid.same_as(self.fixed.grid) else None
            write_scan(folder / "jacobian.nii.gz", self.jacobian, self.field_grid, like)
            if self.uncertainty is not None:
                write_scan(folder / "uncertainty.nii.gz", self.uncertainty, self.field_grid, like)
            if report:
                from morphseek_monai.registration.report import write_report  # Matplotlib

                write_report(folder, self.view())
        for written in transforms:
            written.result()
        with replacing(folder / "result.json") as temporary:
            temporary.write_text(json.dumps(self.record, indent=2) + "\n", encoding="utf-8")


class _Nearest:
    """Bring a map from the field's grid to the finer fixed grid, for pictures: nothing to do where they are one."""

    def __init__(self, source: Grid, target: Grid) -> None:
        self.source, self.target = source, target
        self.same = source.same_as(target)
        self.scale = source.spacing / target.spacing  # voxels of the one in voxels of the other

    def __call__(self, values: NDArray[Any]) -> NDArray[np.float32]:
        if self.same:
            return np.asarray(values, dtype=np.float32)
        identity = make_transform(np.eye(4), None, self.target)
        return np.asarray(resample(values, self.source.affine, identity, self.target, "nearest"), dtype=np.float32)


def _short(name: str) -> str:
    return Path(name).name or name


def _facts(record: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """The tables of the report, from the record."""
    scans = [
        (f"{role} image", [(key, _text(record[role][key])) for key in ("path", "size", "spacing", "intensity")])
        for role in ("fixed", "moving")
    ]
    sections = ("affine", "network", "bundle", "arguments", "seconds", "versions")
    return scans + [
        (name, [(key, _text(value)) for key, value in record[name].items() if "matrix" not in key and key != "affine"])
        for name in sections
    ]


def _text(value: Any) -> str:
    if isinstance(value, Mapping) and "spacing" in value:
        return f"{_text(value['size'])} voxels of {_text(value['spacing'])} mm"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return " x ".join(_text(item) for item in value)
    return str(value)
