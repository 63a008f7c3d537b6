"""What is drawn over a picture as lines: a deformed grid and the outlines of an image.

Points are (across, down) in voxels from the upper left corner; the centre of the first voxel is (0.5, 0.5).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from contourpy import contour_generator
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Line = NDArray[np.floating[Any]]  # (N, 2)

_CELLS = 26  # of the grid, along the larger side
_POINTS_PER_CELL = 4
_SHORTEST = 12  # points of an outline; shorter ones are noise


def grid_lines(displacement: NDArray[Any], spacing: tuple[float, float]) -> list[Line]:
    """A regular square grid, displaced.

    Args:
        displacement: to the right and downwards ``(2, rows, columns)``, in voxels.
        spacing: (width, height) of a voxel in mm.

    Returns:
        lines ``(N, 2)``: first the rows, then the columns of the grid.
    """
    _, rows, columns = displacement.shape
    down, across = np.mgrid[:rows, :columns]
    points = np.stack([across, down], axis=-1) + 0.5 + np.moveaxis(np.nan_to_num(displacement), 0, -1)
    cell = max(columns * spacing[0], rows * spacing[1]) / _CELLS
    steps = [max(1, round(cell / mm)) for mm in spacing]
    lines: list[Line] = [points[k, _points(columns, steps[0])] for k in _middle(rows, steps[1])]
    return lines + [points[_points(rows, steps[1]), k] for k in _middle(columns, steps[0])]


def _middle(number: int, step: int) -> range:
    """Every step-th of some lines, as far from the first as from the last."""
    return range((number - 1) % step // 2, number, step)


def _points(number: int, step: int) -> NDArray[np.intp]:
    """Enough points for a smooth line, the ends among them."""
    return np.unique(np.r_[0 : number : max(1, step // _POINTS_PER_CELL), number - 1])


def outlines(picture: NDArray[Any], values: Sequence[float]) -> list[Line]:
    """Where an image, slightly smoothed, crosses some values.

    Args:
        picture: ``(rows, columns)``.
        values: intensities.

    Returns:
        lines ``(N, 2)``; none in a picture of one row or column.
    """
    if min(picture.shape) < 2:
        return []
    generator = contour_generator(z=gaussian_filter(np.nan_to_num(picture).astype(np.float32), 0.8))
    found = (np.asarray(line) for value in values for line in generator.lines(value))
    return [line + 0.5 for line in found if len(line) >= _SHORTEST]


def svg_path(lines: Sequence[Line]) -> str:
    """The ``d`` of an SVG path, to a tenth of a voxel.

    Example:
        >>> svg_path([np.array([[0.5, 0.5], [1.5, 2.04]])])
        'M0.5 0.5L1.5 2'
    """
    return "".join("M" + "L".join(f"{_short(x)} {_short(y)}" for x, y in line.tolist()) for line in lines)


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
