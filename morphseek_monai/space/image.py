"""An image and its place: an array with an affine, in any order of axes, and perhaps a mask."""

from __future__ import annotations

from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from .grid import Grid

__all__ = ["Image", "orient"]


class Image(NamedTuple):
    """An image and its place.

    Attributes:
        array: ``(X, Y, Z)``.
        affine: ``(4, 4)`` float64, voxel -> RAS mm, or -> mm along other axes.
        mask: ``(X, Y, Z)`` float32 in [0, 1], where ``array`` is valid; None for everywhere.
    """

    array: NDArray[Any]
    affine: NDArray[np.float64]
    mask: NDArray[np.float32] | None = None

    @property
    def grid(self) -> Grid:
        """Size and affine."""
        return Grid.from_size(self.array.shape, self.affine)

    @property
    def spacing(self) -> NDArray[np.float64]:
        """Distance of neighbouring voxels ``(3,)``."""
        return self.grid.spacing

    @property
    def extent(self) -> NDArray[np.float64]:
        """Length of the grid along its axes ``(3,)``, outer faces of the voxels."""
        return self.spacing * self.array.shape

    @property
    def centre(self) -> NDArray[np.float64]:
        """Position of the middle of the grid ``(3,)``."""
        return self.position((np.array(self.array.shape) - 1) / 2)

    def position(self, voxels: NDArray[Any]) -> NDArray[np.float64]:
        """Positions ``(..., 3)`` of voxel indices ``(..., 3)``."""
        places: NDArray[np.float64] = np.asarray(voxels) @ self.affine[:3, :3].T + self.affine[:3, 3]
        return places

    def within(self, axes: NDArray[np.float64]) -> Image:
        """The same image with its affine in millimetres along ``axes``, ``(4, 4)`` mm along them -> RAS mm."""
        return self._replace(affine=np.linalg.inv(axes) @ self.affine)


def orient(
    array: NDArray[Any], affine: NDArray[Any], orientation: str, mask: NDArray[Any] | None = None
) -> Image:
    """Reorder and flip axes so that they come as close as possible to ``orientation``, without resampling.

    Args:
        array: ``(X, Y, Z)``.
        affine: ``(4, 4)`` voxel -> RAS mm; oblique and sheared ones take the nearest axes.
        orientation: e.g. ``"RAS"``: first axis to the right, second to the front, third upwards.
        mask: ``(X, Y, Z)``, turned alike.

    Returns:
        a view of the array, with the affine that belongs to it, and the mask.

    Example:
        >>> image = orient(np.arange(8).reshape(2, 2, 2), np.diag([-1.0, 1, 1, 1]), "RAS")
        >>> image.array[0, 0, 0], image.affine[0].tolist()
        (np.int64(4), [1.0, 0.0, 0.0, -1.0])
    """
    nibabel: Any = nib.orientations
    change = nibabel.ornt_transform(nibabel.io_orientation(affine), nibabel.axcodes2ornt(tuple(orientation)))
    turned = nibabel.apply_orientation(array, change)
    valid = None if mask is None else nibabel.apply_orientation(mask, change).astype(np.float32)
    return Image(turned, np.asarray(affine, np.float64) @ nibabel.inv_ornt_aff(change, array.shape), valid)
