"""Bring two scans onto the network's grid, as its bundle's training did."""

from __future__ import annotations

from collections.abc import Sequence
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
        image: ``(1, C, D, H, W)`` in [0, 1], a channel per contrast, continued beyond what was scanned and counts.
        valid: ``(1, 1, D, H, W)``, 1 where it was scanned and counts, else 0.
    """

    image: Tensor
    valid: Tensor

    @property
    def alone(self) -> Tensor:
        """The first contrast, 0 beyond what was scanned and counts: what a network gets."""
        return self.image[:, :1] * self.valid


def view_on(images: Sequence[Image], grid: Grid, points: PointMap, device: torch.device) -> View:
    """See a scan on a grid.

    Args:
        images: its contrasts on one grid, the first with the mask of all.
        grid: as for :func:`onto_grid`.
        points: likewise.
        device: of the result.
    """
    first = images[0]
    valid = torch.empty(1, 1, *grid.size)
    for part in slabs(grid):
        valid[0, 0, part] = inside(points.places(grid, part, first.affine), first.array.shape).float()
    mask = mask_on(first, grid, points)
    if mask is not None:
        valid[0, 0] *= torch.from_numpy(mask)
    seen = (onto_grid(image, grid, points, None) for image in images)
    return View(as_tensor(*seen, device=device), valid.to(device))


def onto_grid(
    image: Image, grid: Grid, points: PointMap | NDArray[np.float64], outside: float | None = 0.0
) -> NDArray[np.float32]:
    """Resample an image onto a grid, averaging where the grid is coarser than the image.

    Every voxel is the mean of ``k x k x k`` linear samples, ``k`` the ratio of the spacings: a block mean where the
    grids fit (1 mm to 2 mm), as the bundles' ``Resized(mode="area")`` does in training, and no aliasing elsewhere.

    Args:
        image: prepared to [0, 1].
        grid: where, in the coordinates of ``image.affine``.
        points: of ``grid`` -> of the image; a matrix ``(4, 4)`` will do.
        outside: value beyond the image; None continues its border.

    Returns:
        ``(X, Y, Z)`` float32.
    """
    finest = image.grid.spacing.min()
    times = np.clip(np.round(grid.spacing / finest), 1, FINEST).astype(int)
    fine = grid.subdivided(times)
    where = points if isinstance(points, PointMap) else PointMap((points,))
    sampled = resample(image.array, image.affine, where, fine, outside=outside)
    x, y, z = grid.size
    blocks = sampled.reshape(x, times[0], y, times[1], z, times[2])
    return np.asarray(blocks.mean(axis=(1, 3, 5)), dtype=np.float32)


def mask_on(image: Image, grid: Grid, points: PointMap | NDArray[np.float64]) -> NDArray[np.float32] | None:
    """Where an image counts on a grid, 1 or 0, by more than the half of a voxel; None without a mask.

    Args:
        image: with its mask.
        grid: as for :func:`onto_grid`.
        points: likewise.
    """
    if image.mask is None:
        return None
    return (onto_grid(Image(image.mask, image.affine), grid, points) > 0.5).astype(np.float32)


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
