"""The pair at the finest resolution that its scans allow: what the optimiser sees."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morphseek_monai.registration.prepare.network_grid import foreground_ends
from morphseek_monai.registration.prepare.resample import FINEST, onto_grid
from morphseek_monai.space.grid import Grid
from morphseek_monai.space.image import Image
from morphseek_monai.spatial.point_map import PointMap, inside, interpolate, slabs

MARGIN = 8  # voxels around the fixed foreground
DARK = 0.02  # of the prepared intensities: what is darker everywhere is air, and need not be looked at
MOST_VOXELS = 8_000_000  # of the finest level; a CT of 500 slices is seen at twice its spacing


class FinestPair(NamedTuple):
    """A pair on a grid along the fixed image's own axes.

    Attributes:
        moving: ``(1, 1, X, Y, Z)`` in [0, 1], aligned, its border continued beyond what was scanned.
        fixed: same shape.
        valid: same shape, 1 where ``moving`` was scanned.
        grid: of all three, RAS mm.
    """

    moving: Tensor
    fixed: Tensor
    valid: Tensor
    grid: Grid


def finest_grid(fixed: Image, moving_spacing: NDArray[np.float64], coarser: float = 1.0) -> Grid:
    """The fixed image's own voxels around its foreground, coarser where they are finer than any of the moving image's.

    Args:
        fixed: prepared to [0, 1], RAS mm.
        moving_spacing: ``(3,)`` mm.
        coarser: factor on the spacing, to save memory.
    """
    ends = foreground_ends(fixed.array > DARK)
    size = np.array(fixed.array.shape)
    first = np.maximum(np.floor(ends[0]) - MARGIN, 0).astype(int)
    last = np.minimum(np.ceil(ends[1]) + MARGIN, size - 1).astype(int)
    extent = last - first + 1
    spacing = fixed.grid.spacing
    finest = max(float(moving_spacing.min()), float(spacing.min()))
    finest *= coarser * max(1.0, (math.prod(extent / np.maximum(1, finest / spacing)) / MOST_VOXELS) ** (1 / 3))
    factor = np.maximum(1.0, finest / spacing)
    factor[factor < 1.1] = 1.0  # nearly the scan's own voxels: these are
    voxels = np.maximum(np.ceil(extent / factor), 2).astype(int)
    place = np.diag([*factor, 1.0])
    place[:3, 3] = np.where(factor == 1, first, (first + last - factor * (voxels - 1)) / 2)
    return Grid.from_size(voxels, fixed.affine @ place)


def finest_pair(fixed: Image, moving: Image, affine: NDArray[np.float64], grid: Grid) -> FinestPair:
    """Bring both images onto the grid, the moving one by the affine.

    Args:
        fixed: prepared to [0, 1], RAS mm.
        moving: likewise.
        affine: ``(4, 4)``, RAS mm of the fixed -> RAS mm of the moving image.
        grid: as :func:`finest_grid` chose it.
    """
    fixed_values = onto_grid(fixed, grid, np.eye(4))
    ratio = np.clip(np.round(grid.spacing.min() / moving.grid.spacing), 1, FINEST).astype(int)
    image = _block_means(moving, ratio) if ratio.max() > 1 else moving
    volume = torch.from_numpy(np.ascontiguousarray(image.array, dtype=np.float32))[None, None]
    moving_values, valid = torch.empty(1, 1, *grid.size), torch.empty(1, 1, *grid.size)
    by_affine = PointMap((affine,))
    for part in slabs(grid):
        where = by_affine.places(grid, part, image.affine)
        moving_values[0, :, part] = interpolate(volume, where, None)
        valid[0, 0, part] = inside(where, volume.shape[2:]).float()
    return FinestPair(moving_values, torch.from_numpy(fixed_values)[None, None], valid, grid)


def _block_means(image: Image, ratio: NDArray[np.int_]) -> Image:
    """The image in voxels ``ratio`` times as large, so that what the grid cannot show does not alias."""
    ratio = np.minimum(ratio, image.array.shape)
    x, y, z = (n // r for n, r in zip(image.array.shape, ratio))
    cut = image.array[: x * ratio[0], : y * ratio[1], : z * ratio[2]]
    blocks = cut.reshape(x, ratio[0], y, ratio[1], z, ratio[2]).mean(axis=(1, 3, 5))
    place = np.diag([*ratio.astype(float), 1.0])
    place[:3, 3] = (ratio - 1) / 2
    return Image(blocks, image.affine @ place)
