"""The volumes of a series: which can be used, each by itself, and each brought to the grid again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphseek_monai.base.errors import DataError
from morphseek_monai.data.scans.scan import Scan, read_series
from morphseek_monai.space.grid import Grid
from morphseek_monai.spatial.apply import value_outside, warp_values
from morphseek_monai.spatial.point_map import PointMap

__all__ = ["Series"]

INTERPOLATIONS = ("bspline", "linear", "sinc")


class Series:
    """A series in memory.

    Args:
        source: as for :func:`~morphseek_monai.data.scans.scan.read_series`.
        interpolation: of :data:`INTERPOLATIONS`.

    Attributes:
        scan: what was read, ``(X, Y, Z, T)``.
        mask: ``(X, Y, Z)`` bool, where any volume has a value; None for everywhere.
        faults: what is wrong with a volume, by its number: NaN or infinity where others have values, or one value
            everywhere.
        good: numbers of the others.

    Raises:
        DataError: it is no series, has fewer than two usable volumes, or there is no such interpolation.
    """

    def __init__(self, source: Any, interpolation: str = "bspline") -> None:
        if interpolation not in INTERPOLATIONS:
            known = ", ".join(INTERPOLATIONS)
            raise DataError(f"align-series: --interpolation must be one of {known}, got {interpolation!r}; correct it")
        self.scan: Scan = read_series(source, "series")
        shape = self.scan.array.shape
        if len(shape) != 4:
            raise DataError(f"series {self.scan.name} has one volume, its shape is {shape}; give a 4-D image")
        self.interpolation = interpolation
        missing = self.scan.missing
        self.mask: NDArray[np.bool_] | None = None if missing is None else ~np.asarray(missing.all(axis=3))
        self.faults = {number: fault for number in range(len(self)) if (fault := self._fault(number))}
        self.good = [number for number in range(len(self)) if number not in self.faults]
        if len(self.good) < 2:
            raise DataError(
                f"series {self.scan.name} has {len(self.good)} usable of {len(self)} volumes, the others are NaN in"
                " places or of one value; give two at least"
            )
        self.outside = value_outside(self.scan)

    def __len__(self) -> int:
        return int(self.scan.array.shape[3])

    @property
    def grid(self) -> Grid:
        """Of every volume."""
        return self.scan.grid

    def volume(self, number: int) -> NDArray[Any]:
        """One volume ``(X, Y, Z)``."""
        volume: NDArray[Any] = self.scan.array[..., number]
        return volume

    def original(self, number: int) -> NDArray[np.float32]:
        """One volume ``(X, Y, Z)`` as the file has it, NaN and all."""
        volume = self.volume(number).astype(np.float32)
        return volume if self.scan.missing is None else np.where(self.scan.missing[..., number], np.nan, volume)

    def warped(self, number: int, points: PointMap) -> NDArray[np.float32]:
        """One volume on the grid, interpolated once; NaN where it has no value.

        Args:
            number: of the volume.
            points: points of the grid -> points of the volume.
        """
        missing = None if self.scan.missing is None else self.scan.missing[..., number]
        one = replace(self.scan, array=self.volume(number).astype(np.float32), missing=missing)
        return warp_values(one, points, self.grid, self.interpolation, float("nan"))

    def _fault(self, number: int) -> str:
        volume = self.volume(number)
        if self.scan.missing is not None and self.mask is not None:
            lost = int((self.scan.missing[..., number] & self.mask).sum())
            if lost:
                return f"is NaN or infinite in {lost} voxels where others have values"
            volume = volume[self.mask]
        return f"has one value everywhere ({volume.flat[0]:g})" if np.ptp(volume) == 0 else ""
