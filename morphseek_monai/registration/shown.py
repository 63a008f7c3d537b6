"""What the report of a registration shows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from morphseek_monai.data.scans.scan import Scan
from morphseek_monai.registration.report import ReportContent
from morphseek_monai.space.grid import Grid
from morphseek_monai.spatial.point_map import PointMap
from morphseek_monai.spatial.transform import resample

if TYPE_CHECKING:
    from morphseek_monai.registration.result import RegistrationResult

__all__ = ["content_of"]


def content_of(result: RegistrationResult) -> ReportContent:
    """Gather what the report shows, all on the fixed grid; the moving image before the field only in its planes."""
    fixed = result.fixed
    at_fixed = _Nearest(result.field_grid, fixed.grid)
    ddf = result.ddf[0].numpy()
    return ReportContent(
        title=f"{_short(result.moving.name)} to {_short(fixed.name)}",
        verdict=result.verdict,
        checks=result.checks,
        notices=result.notices,
        facts=_facts(result.record),
        metrics={
            stage: {name.replace("_", " "): value for name, value in values.items()}
            for stage, values in result.metrics.items()
        },
        affine=fixed.affine,
        fixed=fixed.array,
        before=Planes(result.moving, PointMap((np.eye(4),)), fixed.grid, result.outside),
        aligned=Planes(result.moving, PointMap((result.affine,)), fixed.grid, result.outside),
        warped=result.warped_array,
        ddf=ddf if at_fixed.same else np.stack([at_fixed(c) * at_fixed.scale[a] for a, c in enumerate(ddf)]),
        jacobian=at_fixed(result.jacobian),
        uncertainty=None if result.uncertainty is None else at_fixed(result.uncertainty),
    )


class Planes:
    """An image on another grid, of which single planes are resampled when they are taken.

    Args:
        scan: the image.
        points: of the grid -> of the image.
        grid: where it is wanted.
        outside: value beyond the image.
    """

    def __init__(self, scan: Scan, points: PointMap, grid: Grid, outside: float) -> None:
        self.scan, self.points, self.grid, self.outside = scan, points, grid, outside

    @property
    def shape(self) -> tuple[int, ...]:
        """``(X, Y, Z)``."""
        return self.grid.size

    def take(self, index: int, axis: int) -> NDArray[np.float32]:
        """One plane, as :func:`numpy.take` of the whole image."""
        size, shift = list(self.grid.size), np.eye(4)
        size[axis], shift[axis, 3] = 1, index
        plane = Grid.from_size(size, self.grid.affine @ shift)
        found = resample(self.scan.array, self.scan.affine, self.points, plane, outside=self.outside)
        return np.asarray(found.take(0, axis), dtype=np.float32)


class _Nearest:
    """Bring a map from the field's grid to the finer fixed grid, for pictures: nothing to do where they are one."""

    def __init__(self, source: Grid, target: Grid) -> None:
        self.source, self.target = source, target
        self.same = source.same_as(target)
        self.scale = source.spacing / target.spacing  # voxels of the one in voxels of the other

    def __call__(self, values: NDArray[Any]) -> NDArray[np.float32]:
        if self.same:
            return np.asarray(values, dtype=np.float32)
        found = resample(values, self.source.affine, PointMap(()), self.target, "nearest")
        return np.asarray(found, dtype=np.float32)


def _short(name: str) -> str:
    return Path(name).name or name


def _facts(record: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """The tables of the report, from the record."""
    keys = ("path", "contrasts", "size", "spacing", "intensity", "mask", "mask_percent")
    scans = [
        (f"{role} image", [(key, _text(record[role][key])) for key in keys if key in record[role]])
        for role in ("fixed", "moving")
    ]
    sections = ("affine", *(["landmarks"] if "landmarks" in record else ()), "network", "bundle", "arguments")
    sections += ("seconds", "versions")
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
        return (", " if value and isinstance(value[0], str) else " x ").join(_text(item) for item in value)
    return str(value)
