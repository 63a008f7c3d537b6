"""The frame in which a pair is registered: the fixed image's own axes, however its header turns or orders them.

All that follows the reading of two scans happens in this frame. If both headers are turned by one rotation, or the
voxels are stored in another order of axes, nothing here changes but the frame itself, and so the displacements in
space are the same.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from morphseek_monai.data.grid import Grid
from morphseek_monai.data.nifti import corners
from morphseek_monai.registration.model import RegistrationModel

MARGIN = 4.0  # voxels of the network's grid around what must fit into it
TAIL = 0.001  # share of the foreground that may lie outside its box on each side: specks are no anatomy


class Oriented(NamedTuple):
    """An image with its axes in the order and direction of the bundle's grid.

    Attributes:
        array: ``(X, Y, Z)``, a view.
        affine: ``(4, 4)`` voxel -> RAS mm, or -> mm of the frame.
    """

    array: NDArray[Any]
    affine: NDArray[np.float64]

    @property
    def grid(self) -> Grid:
        """Size and affine."""
        x, y, z = self.array.shape
        return Grid((x, y, z), self.affine)

    def within(self, frame: NDArray[np.float64]) -> Oriented:
        """The same image with its affine in millimetres of ``frame``."""
        return Oriented(self.array, np.linalg.inv(frame) @ self.affine)


def orient(array: NDArray[Any], affine: NDArray[Any], orientation: str) -> Oriented:
    """Reorder and flip axes so that they come as close as possible to ``orientation``, without resampling.

    Args:
        array: ``(X, Y, Z)``.
        affine: ``(4, 4)`` voxel -> RAS mm; oblique and sheared ones take the nearest axes.
        orientation: e.g. ``"RAS"``: first axis to the right, second to the front, third upwards.

    Example:
        >>> array, affine = orient(np.arange(8).reshape(2, 2, 2), np.diag([-1.0, 1, 1, 1]), "RAS")
        >>> array[0, 0, 0], affine[0].tolist()
        (np.int64(4), [1.0, 0.0, 0.0, -1.0])
    """
    nibabel: Any = nib.orientations
    change = nibabel.ornt_transform(nibabel.io_orientation(affine), nibabel.axcodes2ornt(tuple(orientation)))
    turned = nibabel.apply_orientation(array, change)
    return Oriented(turned, np.asarray(affine, np.float64) @ nibabel.inv_ornt_aff(change, array.shape))


def frame_of(fixed: Oriented) -> NDArray[np.float64]:
    """Rigid ``(4, 4)``, frame mm -> RAS mm: the image's axes made orthonormal, its centre the origin.

    The rotation may contain a reflection where the bundle's orientation is left-handed; it cancels.
    """
    u, _, vt = np.linalg.svd(fixed.affine[:3, :3] / fixed.grid.spacing)
    frame = np.eye(4)
    frame[:3, :3] = u @ vt
    frame[:3, 3] = fixed.grid.centre
    return frame


def tissue_ends(foreground: NDArray[np.bool_]) -> NDArray[np.float64]:
    """First and last voxel of the foreground along each axis, ``(2, 3)``; of the whole array where it is empty."""
    ends = np.array([[0, 0, 0], np.array(foreground.shape) - 1], dtype=np.float64)
    for axis in range(3):
        mass = foreground.sum(axis=tuple(a for a in range(3) if a != axis)).cumsum()
        if mass[-1] > 0:
            ends[:, axis] = np.searchsorted(mass, [TAIL * mass[-1], (1 - TAIL) * mass[-1]])
    return ends


def _box(affine: NDArray[np.float64], ends: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lowest and highest coordinates ``(2, 3)`` in mm of the voxels from ``ends[0]`` to ``ends[1]``."""
    x, y, z = (int(n) for n in ends[1] - ends[0] + 1)
    block = corners((x, y, z))
    block[:3] += ends[0][:, None]
    points = (affine @ block)[:3]
    return np.stack([points.min(axis=1), points.max(axis=1)])


def network_grid(fixed: Oriented, foreground: NDArray[np.bool_], model: RegistrationModel) -> Grid:
    """Choose the grid that the network sees, along the axes of the frame.

    Its voxels are so large that the foreground is as many of them long as the bundle's training showed, whatever the
    unit or the animal, but never finer than the fixed image's own: thick slices stay what they are.

    Args:
        fixed: oriented, in millimetres of the frame.
        foreground: its tissue, ``(X, Y, Z)``.
        model: the bundle.

    Returns:
        the grid in the frame, around the foreground.
    """
    tissue = _box(fixed.affine, tissue_ends(foreground))
    extent = np.maximum(tissue[1] - tissue[0], fixed.grid.spacing)
    spacing = np.maximum(extent.max() / model.voxels, fixed.grid.spacing)
    stride = model.network.stride
    size = np.ceil((extent / spacing + 1 + 2 * MARGIN) / stride - 1e-6) * stride  # rounding adds no voxels
    return _grid(size.astype(int), spacing, tissue.mean(axis=0))


def _grid(size: NDArray[Any], spacing: NDArray[Any], centre: NDArray[Any]) -> Grid:
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = centre - spacing * (size - 1) / 2
    return Grid((int(size[0]), int(size[1]), int(size[2])), affine)

