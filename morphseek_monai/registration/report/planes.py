"""Axial, coronal and sagittal planes of a volume with any affine, the way radiologists hang them.

Pictures are arrays (rows, columns), first row on top. Turned to the orientation left, posterior, inferior, every
axis of a volume runs to the right or downwards in its pictures: the patient's right is on the viewer's left,
anterior and superior are on top, and a sagittal plane looks to the left.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform
from numpy.typing import NDArray

_HANGING = axcodes2ornt(("L", "P", "I"))  # type: ignore[no-untyped-call]


class Sliced(Protocol):
    """What a plane can be taken of: an array ``(X, Y, Z)``, or an image that is computed where it is looked at."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(X, Y, Z)``."""

    def take(self, index: int, axis: int) -> NDArray[Any]:
        """The plane at an index of an axis, without that axis."""


class Plane(NamedTuple):
    """One of the three anatomical planes.

    Attributes:
        name: ``"axial"``, ``"coronal"`` or ``"sagittal"``.
        letters: directions at the left, right, upper and lower edge.
        across: axis of the hung volume that runs to the right.
        down: axis that runs downwards.
        through: axis that the plane cuts.
    """

    name: str
    letters: str
    across: int
    down: int
    through: int


PLANES = (
    Plane("axial", "RLAP", 0, 1, 2),
    Plane("coronal", "RLSI", 0, 2, 1),
    Plane("sagittal", "APSI", 1, 2, 0),
)


@dataclass(frozen=True)
class Cuts:
    """The three planes through one voxel of a grid. An oblique grid is shown along its nearest anatomical axes.

    Args:
        affine: ``(4, 4)``, voxel -> RAS mm.
        size: voxels ``(X, Y, Z)``.
        point: voxel that all planes contain, rounded and held inside the grid.

    Example:
        >>> cuts = Cuts(np.diag([-1.0, -1.0, 2.0, 1.0]), (4, 5, 6), (0, 0, 5))  # stored left, posterior, superior
        >>> volume = np.arange(120).reshape(4, 5, 6)
        >>> cuts.picture(volume, PLANES[0]).tolist() == volume[:, :, 5].T.tolist()
        True
        >>> cuts.extent(PLANES[1])
        (4.0, 12.0)
    """

    affine: NDArray[np.float64]
    size: tuple[int, int, int]
    point: tuple[float, float, float]

    @cached_property
    def _orientation(self) -> NDArray[Any]:
        """Row j: axis of the hung volume that array axis j becomes, and whether it is flipped (-1)."""
        orientation: NDArray[Any] = ornt_transform(io_orientation(self.affine), _HANGING)  # type: ignore[no-untyped-call]
        return orientation

    def _hung(self, values: Any) -> list[Any]:
        """Three values of the array axes, in the order of the hung volume's axes."""
        return [values[int(j)] for j in np.argsort(self._orientation[:, 0])]

    @property
    def _voxel(self) -> NDArray[np.float64]:
        """The common point as a voxel, along the array's axes."""
        voxel: NDArray[np.float64] = np.clip(np.rint(self.point), 0, np.array(self.size) - 1)
        return voxel

    def picture(self, volume: Sliced, plane: Plane) -> NDArray[Any]:
        """Cut a plane.

        Args:
            volume: ``(X, Y, Z)``, or what can only be asked for a plane.
            plane: which one.

        Returns:
            the picture ``(rows, columns)``.
        """
        cut = int(np.flatnonzero(self._orientation[:, 0] == plane.through)[0])
        taken = np.asarray(volume.take(int(self._voxel[cut]), axis=cut))
        turned: NDArray[Any] = np.expand_dims(taken, cut)
        hung: NDArray[Any] = apply_orientation(turned, self._orientation)  # type: ignore[no-untyped-call]
        picture: NDArray[Any] = hung.take(0, axis=plane.through).T
        return picture

    def displacement(self, ddf: NDArray[Any], plane: Plane) -> NDArray[Any]:
        """Cut the in-plane part of a field.

        Args:
            ddf: ``(3, X, Y, Z)`` in voxels.
            plane: which one.

        Returns:
            displacements to the right and downwards ``(2, rows, columns)``, in voxels.
        """
        parts: dict[int, NDArray[Any]] = {
            int(axis): flip * self.picture(ddf[j], plane)
            for j, (axis, flip) in enumerate(self._orientation)
            if int(axis) != plane.through
        }
        return np.stack([parts[plane.across], parts[plane.down]])

    def voxels(self, plane: Plane) -> tuple[int, int]:
        """Size of a plane: (columns, rows)."""
        size = self._hung(self.size)
        return size[plane.across], size[plane.down]

    def spacing(self, plane: Plane) -> tuple[float, float]:
        """Size of a voxel in a plane: (width, height) in mm."""
        spacing = self._hung(np.linalg.norm(self.affine[:3, :3], axis=0).tolist())
        return spacing[plane.across], spacing[plane.down]

    def extent(self, plane: Plane) -> tuple[float, float]:
        """Size of a plane: (width, height) in mm."""
        (columns, rows), (width, height) = self.voxels(plane), self.spacing(plane)
        return columns * width, rows * height

    def position(self, plane: Plane) -> float:
        """Where the plane cuts, at the common point: RAS mm along the anatomical axis nearest to its normal."""
        return float((self.affine[:3, :3] @ self._voxel + self.affine[:3, 3])[plane.through])

    @cached_property
    def obliquity(self) -> float:
        """Largest angle in degrees between an axis of the grid and the anatomical axis nearest to it."""
        cosines = np.abs(self.affine[:3, :3]) / np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(np.degrees(np.arccos(np.clip(cosines.max(axis=0).min(), 0, 1))))


def foreground_centre(volume: NDArray[Any], low: float, high: float) -> tuple[float, float, float]:
    """Centre of mass of what is brighter than a tenth of the shown range.

    Args:
        volume: ``(X, Y, Z)``.
        low: what is shown black.
        high: what is shown white.

    Returns:
        voxel coordinates; the middle of the grid where nothing is brighter.
    """
    foreground = volume > low + 0.1 * (high - low)
    if not foreground.any():
        x, y, z = ((n - 1) / 2 for n in volume.shape)
        return x, y, z
    centre = []
    for axis, n in enumerate(volume.shape):
        mass = np.count_nonzero(foreground, axis=tuple(a for a in range(3) if a != axis))
        centre.append(float(np.arange(n) @ mass / mass.sum()))
    return centre[0], centre[1], centre[2]
