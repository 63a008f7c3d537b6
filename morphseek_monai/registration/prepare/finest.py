"""The pair at the finest resolution that its scans allow: what the optimiser sees."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morphseek_monai.registration.prepare.mask import foreground_of
from morphseek_monai.registration.prepare.network_grid import foreground_ends
from morphseek_monai.registration.prepare.resample import FINEST, mask_on, onto_grid
from morphseek_monai.space.grid import Grid
from morphseek_monai.space.image import Image
from morphseek_monai.spatial.point_map import PointMap, inside, interpolate, slabs

MARGIN = 8  # voxels around the fixed foreground
DARK = 0.02  # of the prepared intensities: what is darker everywhere is air, and need not be looked at
MOST_VOXELS = 8_000_000  # of the finest level; a CT of 500 slices is seen at twice its spacing


class FinestPair(NamedTuple):
    """A pair on a grid along the fixed image's own axes.

    Attributes:
        moving: ``(1, C, X, Y, Z)`` in [0, 1], a channel per contrast, aligned, continued beyond what was scanned.
        fixed: same shape.
        valid: ``(1, 1, X, Y, Z)``, 1 where ``moving`` was scanned and counts.
        counts: same shape, 1 where ``fixed`` counts; None without masks.
        grid: of all of them, RAS mm.
    """

    moving: Tensor
    fixed: Tensor
    valid: Tensor
    counts: Tensor | None
    grid: Grid


def finest_grid(fixed: Image, moving_spacing: NDArray[np.float64], coarser: float = 1.0) -> Grid:
    """The fixed image's own voxels around its foreground, coarser where they are finer than any of the moving image's.

    Args:
        fixed: prepared to [0, 1], RAS mm.
        moving_spacing: ``(3,)`` mm.
        coarser: factor on the spacing, to save memory.
    """
    ends = foreground_ends(foreground_of(fixed, DARK))
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


def finest_pair(fixed: Sequence[Image], moving: Sequence[Image], points: PointMap, grid: Grid) -> FinestPair:
    """Bring both scans onto the grid.

    Args:
        fixed: its contrasts on one grid, prepared to [0, 1], RAS mm; the first with the mask of all.
        moving: likewise.
        points: of the fixed -> of the moving image.
        grid: as :func:`finest_grid` chose it.
    """
    ratio = np.clip(np.round(grid.spacing.min() / moving[0].grid.spacing), 1, FINEST).astype(int)
    masks = [] if moving[0].mask is None else [Image(moving[0].mask, moving[0].affine)]
    images = [_block_means(image, ratio) if ratio.max() > 1 else image for image in (*moving, *masks)]
    volume = torch.from_numpy(np.stack([np.asarray(image.array, dtype=np.float32) for image in images]))[None]
    values, valid = torch.empty(1, len(moving), *grid.size), torch.empty(1, 1, *grid.size)
    for part in slabs(grid):
        where = points.places(grid, part, images[0].affine)
        found = interpolate(volume, where, None)
        values[0, :, part] = found[: len(moving)]
        valid[0, 0, part] = inside(where, volume.shape[2:]).float()
        if masks:
            valid[0, 0, part] *= found[-1] > 0.5
    fixed_values = np.stack([onto_grid(image, grid, np.eye(4)) for image in fixed])
    mask = mask_on(fixed[0], grid, np.eye(4))
    counts = None if mask is None else torch.from_numpy(mask)[None, None]
    if counts is None and masks:
        counts = torch.ones_like(valid)
    return FinestPair(values, torch.from_numpy(fixed_values)[None], valid, counts, grid)


def _block_means(image: Image, ratio: NDArray[np.int_]) -> Image:
    """The image in voxels ``ratio`` times as large, so that what the grid cannot show does not alias."""
    ratio = np.minimum(ratio, image.array.shape)
    x, y, z = (n // r for n, r in zip(image.array.shape, ratio))
    cut = image.array[: x * ratio[0], : y * ratio[1], : z * ratio[2]]
    blocks = cut.reshape(x, ratio[0], y, ratio[1], z, ratio[2]).mean(axis=(1, 3, 5))
    place = np.diag([*ratio.astype(float), 1.0])
    place[:3, 3] = (ratio - 1) / 2
    return Image(blocks, image.affine @ place)
