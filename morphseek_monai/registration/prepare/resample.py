"""Bring two scans onto the network's grid, as its bundle's training did."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morphseek_monai.registration.prepare.network_grid import foreground_ends
from morphseek_monai.space.grid import Grid
from morphseek_monai.space.image import Image
from morphseek_monai.spatial.point_map import PointMap, inside, slabs
from morphseek_monai.spatial.transform import resample

FINEST = 4  # samples per voxel and axis; a finer image loses little by it


class View(NamedTuple):
    """What one scan shows on a grid.

    Attributes:
        image: ``(1, 1, D, H, W)`` in [0, 1], its border continued beyond what was scanned.
        valid: same shape, 1 where it was scanned, else 0.
    """

    image: Tensor
    valid: Tensor

    @property
    def alone(self) -> Tensor:
        """The image, 0 beyond what was scanned: what a network gets."""
        return self.image * self.valid


def view_on(image: Image, grid: Grid, matrix: NDArray[np.float64], device: torch.device) -> View:
    """See an image on a grid; the arguments are those of :func:`onto_grid`."""
    valid = torch.empty(1, 1, *grid.size)
    by_affine = PointMap((matrix,))
    for part in slabs(grid):
        valid[0, 0, part] = inside(by_affine.places(grid, part, image.affine), image.array.shape).float()
    return View(as_tensor(onto_grid(image, grid, matrix, None), device=device), valid.to(device))


def onto_grid(
    image: Image, grid: Grid, matrix: NDArray[np.float64], outside: float | None = 0.0
) -> NDArray[np.float32]:
    """Resample an image onto a grid, averaging where the grid is coarser than the image.

    Every voxel is the mean of ``k x k x k`` linear samples, ``k`` the ratio of the spacings: a block mean where the
    grids fit (1 mm to 2 mm), as the bundles' ``Resized(mode="area")`` does in training, and no aliasing elsewhere.

    Args:
        image: prepared to [0, 1].
        grid: where, in the coordinates of ``image.affine``.
        matrix: ``(4, 4)``, points of ``grid`` -> points of the image.
        outside: value beyond the image; None continues its border.

    Returns:
        ``(X, Y, Z)`` float32.
    """
    finest = image.grid.spacing.min()
    times = np.clip(np.round(grid.spacing / finest), 1, FINEST).astype(int)
    fine = grid.subdivided(times)
    sampled = resample(image.array, image.affine, PointMap((matrix,)), fine, outside=outside)
    x, y, z = grid.size
    blocks = sampled.reshape(x, times[0], y, times[1], z, times[2])
    return np.asarray(blocks.mean(axis=(1, 3, 5)), dtype=np.float32)


def own_grid(image: Image, foreground: NDArray[np.bool_], spacing: NDArray[Any]) -> Grid:
    """A grid along the image's own axes, of about ``spacing`` mm, over its foreground: what the alignment reads."""
    ends = foreground_ends(foreground)
    voxel = np.maximum(spacing / image.grid.spacing, 1.0)  # never finer than the image
    size = np.ceil((ends[1] - ends[0] + 1) / voxel).astype(int) + 2
    scale = np.diag([*voxel, 1.0])
    scale[:3, 3] = ends.mean(axis=0) - voxel * (size - 1) / 2
    return Grid.from_size(size, image.affine @ scale)


def as_tensor(*images: NDArray[np.float32], device: torch.device) -> Tensor:
    """Images of one grid as the channels of one item, ``(1, C, D, H, W)``."""
    return torch.from_numpy(np.stack(images))[None].to(device)
