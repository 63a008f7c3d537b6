"""The Jacobian determinant of a transform on the grid of an image."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from morphseek_monai.fields import jacobian_determinant
from morphseek_monai.space.grid import Grid

from .coverage import uncovered
from .transform import linear_of, members, to_ddf

__all__ = ["Determinant", "determinant_map"]

PARTS = ("total", "deformable")


class Determinant(NamedTuple):
    """A map of Jacobian determinants.

    Attributes:
        values: ``(X, Y, Z)`` float32.
        folded: voxels where it is not positive.
        beyond: share of the voxels that a displacement field does not cover; it jumps to zero there.
    """

    values: NDArray[np.float32]
    folded: int
    beyond: float


def determinant_map(transform: Any, grid: Grid, part: str = "total") -> Determinant:
    """Local change of volume, ``det(d phi / d x)`` in world coordinates.

    The transform is sampled at the voxel centres and differentiated by central differences (one-sided at the border).
    The determinant in voxels of a grid is that in millimetres, whatever its spacing, rotation or shear: both change the
    basis on both sides. Values above 1 mean that the moving image's structure is larger than the fixed image's.

    Args:
        transform: an ITK transform of points.
        grid: of the output.
        part: ``total``, or ``deformable``: divided by the determinants of the transform's linear members, so that
            differences of head size are left out and 1 is no local change.

    Raises:
        ValueError: an unknown part, or a grid with an axis of one voxel, which has no difference.
    """
    if part not in PARTS:
        raise ValueError(f"determinant_map() 'part' must be of {PARTS}, got {part!r}")
    values = jacobian_determinant(to_ddf(transform, grid))[0].numpy()
    if part == "deformable":
        linear = [matrix for member in members(transform) if (matrix := linear_of(member)) is not None]
        values = values / np.prod([np.linalg.det(matrix[:3, :3]) for matrix in linear])
    return Determinant(values.astype(np.float32), int((values <= 0).sum()), uncovered(transform, grid))
