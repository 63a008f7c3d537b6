"""The axes along which a pair is registered: the fixed image's own axes, however its header turns or orders them.

All that follows the reading of two scans happens along them. If both headers are turned by one rotation, or the
voxels are stored in another order of axes, nothing here changes but the axes themselves, and so the displacements in
space are the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphseek_monai.registration.models.model import RegistrationModel
from morphseek_monai.space.grid import Grid, corners
from morphseek_monai.space.image import Image

MARGIN = 4.0  # voxels of the network's grid around what must fit into it
TAIL = 0.001  # share of the foreground that may lie outside its box on each side: specks are no anatomy


def own_axes(fixed: Image) -> NDArray[np.float64]:
    """Rigid ``(4, 4)``, mm along the image's axes -> RAS mm: they are made orthonormal, its centre the origin.

    The rotation may contain a reflection where the bundle's orientation is left-handed; it cancels.
    """
    axes = np.eye(4)
    axes[:3, :3] = fixed.grid.axes
    axes[:3, 3] = fixed.grid.centre
    return axes


def foreground_ends(foreground: NDArray[np.bool_]) -> NDArray[np.float64]:
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


def network_grid(fixed: Image, foreground: NDArray[np.bool_], model: RegistrationModel) -> Grid:
    """Choose the grid that the network sees, along the fixed image's axes.

    Its voxels are so large that the foreground is as many of them long as the bundle's training showed, whatever the
    unit or the animal, but never finer than the fixed image's own: thick slices stay what they are.

    Args:
        fixed: oriented, in millimetres along its own axes.
        foreground: bool, ``(X, Y, Z)``.
        model: the bundle.

    Returns:
        the grid along these axes, around the foreground.
    """
    box = _box(fixed.affine, foreground_ends(foreground))
    extent = np.maximum(box[1] - box[0], fixed.grid.spacing)
    spacing = np.maximum(extent.max() / model.voxels, fixed.grid.spacing)
    stride = model.network.stride
    size = np.ceil((extent / spacing + 1 + 2 * MARGIN) / stride - 1e-6) * stride  # rounding adds no voxels
    return _grid(size.astype(int), spacing, box.mean(axis=0))


def _grid(size: NDArray[Any], spacing: NDArray[Any], centre: NDArray[Any]) -> Grid:
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = centre - spacing * (size - 1) / 2
    return Grid.from_size(size, affine)

