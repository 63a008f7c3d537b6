"""The structures of a fused label map in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from morphseek_monai.space.grid import Grid

from .fusion import Fused

__all__ = ["structure_rows"]


def structure_rows(fused: Fused, grid: Grid, have: Mapping[int, int]) -> list[dict[str, Any]]:
    """A line per structure: label, voxels, volume in mm3, mean agreement over its voxels, atlases that have it.

    Args:
        fused: label map and agreement.
        grid: of both.
        have: labels of the atlases, and how many of these have each.

    Returns:
        cells by column, labels rising, without 0; the agreement of a structure that won no voxel is empty.
    """
    labels, inverse, counts = np.unique(fused.labels, return_inverse=True, return_counts=True)
    shares = np.bincount(inverse.ravel(), fused.agreement.ravel()) / counts
    found = {int(label): (int(n), float(share)) for label, n, share in zip(labels, counts, shares, strict=True)}
    voxel = abs(float(np.linalg.det(grid.affine[:3, :3])))
    rows = []
    for label in sorted(set(have) - {0}):
        voxels, share = found.get(label, (0, float("nan")))
        agreement = round(share, 5) if voxels else ""
        row = {"label": label, "voxels": voxels, "volume_mm3": round(voxels * voxel, 3), "agreement": agreement}
        rows.append({**row, "atlases": have[label]})
    return rows
