"""Landmarks of both images that a registration is to respect."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from morphseek_monai.base.errors import DataError
from morphseek_monai.inference.landmark_force import LandmarkForce
from morphseek_monai.space.grid import Grid
from morphseek_monai.spatial.point_map import PointMap
from morphseek_monai.spatial.point_table import read_points

__all__ = ["PointPair", "read_landmarks"]

ITERATIONS = 30  # to find a point that a deforming map brings to a given place


class PointPair(NamedTuple):
    """The same landmarks in both images.

    Attributes:
        fixed: ``(N, 3)``, RAS mm.
        moving: likewise, in the same order.
        names: of the two files, or ``"given"``.
        notices: remarks for the user.
    """

    fixed: NDArray[np.float64]
    moving: NDArray[np.float64]
    names: tuple[str, str]
    notices: tuple[str, ...]

    def error(self, points: PointMap) -> float:
        """Target registration error in mm: mean distance to where a map brings those of the fixed image."""
        return float(np.linalg.norm(points.map_points(self.fixed) - self.moving, axis=1).mean())

    def force(
        self, points: PointMap, affine: NDArray[np.float64], grid: Grid, device: torch.device
    ) -> LandmarkForce:
        """What pulls a field ``u`` on a grid, where ``points(x + u(x))`` is the whole map.

        Args:
            points: of the fixed -> of the moving image, RAS mm.
            affine: its linear part ``(4, 4)``.
            grid: of the field.
            device: of the field.
        """
        wanted = nearest = self.fixed
        back = np.linalg.inv(affine[:3, :3]).T
        least = np.full(len(wanted), np.inf)
        for _ in range(ITERATIONS):
            missing = self.moving - points.map_points(wanted)
            length = np.linalg.norm(missing, axis=1)
            nearest = np.where((length < least)[:, None], wanted, nearest)
            least = np.minimum(length, least)
            wanted = wanted + missing @ back
        into = np.linalg.inv(grid.affine)
        fixed, target = (
            torch.from_numpy(into[:3, :3] @ places.T + into[:3, 3:]).float().to(device)
            for places in (self.fixed, nearest)
        )
        return LandmarkForce(fixed, target, grid.size)


def read_landmarks(fixed: Any, moving: Any, space: str | None, grids: tuple[Grid, Grid]) -> PointPair:
    """Read corresponding landmarks.

    Args:
        fixed: a table as :func:`~morphseek_monai.spatial.point_table.read_points` takes it, or ``(N, 3)`` in RAS mm.
        moving: the same landmarks, line by line.
        space: ``RAS`` or ``LPS`` of the tables, unless they tell.
        grids: of both images.

    Raises:
        DataError: a table cannot be read, the numbers differ, there are none, or all of an image's lie outside of it.
    """
    points = [
        read_points(one, space).points if isinstance(one, str | os.PathLike) else np.asarray(one, dtype=np.float64)
        for one in (fixed, moving)
    ]
    if len(points[0]) != len(points[1]) or not len(points[0]):
        raise DataError(
            f"fixed_points and moving_points must be the same landmarks line by line, got {len(points[0])} and"
            f" {len(points[1])} points; take those out that only one image has"
        )
    names = tuple(os.fspath(one) if isinstance(one, str | os.PathLike) else "given" for one in (fixed, moving))
    notices = []
    for role, name, places, grid in zip(("fixed", "moving"), names, points, grids):
        if places.shape[1:] != (3,) or not np.isfinite(places).all():
            got = f"shape {places.shape}" if places.shape[1:] != (3,) else "NaN or infinity"
            raise DataError(f"{role}_points must be (N, 3) finite numbers in RAS mm, got {got}; correct them")
        outside = int((~grid.contains(places)).sum())
        if outside == len(places):
            raise DataError(
                f"{role}_points {name}: all {outside} lie outside of the {role} image; are they in mm, and is the space"
                " right (RAS as NiBabel, LPS as ITK)?"
            )
        if outside:
            notices.append(f"{role}_points {name}: {outside} of {len(places)} lie outside of the {role} image")
    return PointPair(points[0], points[1], (names[0], names[1]), tuple(notices))
