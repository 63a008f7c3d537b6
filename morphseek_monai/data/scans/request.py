"""Which part of a scan is wanted, and what a reader gives back."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from morphseek_monai.base.errors import DataError

__all__ = ["Loaded", "Request", "no_number"]


class Loaded(NamedTuple):
    """What a reader made of a source.

    Attributes:
        array: ``(X, Y, Z)`` or ``(X, Y, Z, T)``, values after slope and intercept; nobody else's memory.
        affine: ``(4, 4)`` voxel -> RAS mm.
        notices: what the reader had to decide.
        header: of NIfTI and its relatives, else None.
    """

    array: NDArray[Any]
    affine: NDArray[np.float64]
    notices: tuple[str, ...] = ()
    header: Any = None


class Request(NamedTuple):
    """Which part of a source is wanted.

    Attributes:
        who: role and name of the source; messages start with it.
        frame: volume of a 4-D image; None refuses more than one.
        series: take all volumes.
        constant: accept the same value everywhere.

    Example:
        >>> Request("image a.nii", frame=2).select((64, 64, 40, 5))
        (slice(None, None, None), slice(None, None, None), slice(None, None, None), 2)
    """

    who: str
    frame: int | None = None
    series: bool = False
    constant: bool = False

    def select(self, shape: tuple[int, ...]) -> tuple[int | slice, ...]:
        """Index expression into an array ``(X, Y, Z)``, ``(X, Y, Z, T)``; trailing axes of one are dropped.

        Args:
            shape: of all that the source holds.

        Raises:
            DataError: there is no such part, or several volumes and none is chosen.
        """
        sizes = tuple(int(n) for n in shape)
        if len(sizes) < 3:
            raise DataError(
                f"{self.who} is two-dimensional, its shape is {sizes}; give the whole volume"
                " (for DICOM the folder of its series)"
            )
        ndim = len(sizes)
        while ndim > 3 and sizes[ndim - 1] == 1:
            ndim -= 1
        if ndim > 4:
            raise no_number(self.who, f"vectors or several series, its shape is {sizes}")
        volumes = sizes[3] if ndim == 4 else 1
        axes: tuple[int | slice, ...] = (slice(None),) * 3
        if ndim == 4:
            axes += (slice(None) if self.series else self._frame(sizes, volumes),)
        elif not self.series:
            self._frame(sizes, volumes)
        return axes + (0,) * (len(sizes) - ndim)

    def _frame(self, shape: tuple[int, ...], volumes: int) -> int:
        if self.frame is None and volumes > 1:
            raise DataError(f"{self.who} has shape {shape}; pick a volume with --frame (0 to {volumes - 1})")
        frame = self.frame or 0
        if not isinstance(frame, int) or isinstance(self.frame, bool) or not 0 <= frame < volumes:
            raise DataError(f"{self.who} has {volumes} volume(s), --frame must be 0 to {volumes - 1}, got {frame}")
        return frame


def no_number(who: str, what: str) -> DataError:
    """The error of a source without one real number per voxel.

    Args:
        who: role and name.
        what: it holds instead.
    """
    return DataError(f"{who} holds {what}, of which no frame can be picked; give an image of one real number per voxel")
