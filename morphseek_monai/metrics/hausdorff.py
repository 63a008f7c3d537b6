"""Hausdorff distances of one structure, in millimetres and as Learn2Reg's scorer has them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt, find_objects
from torch import Tensor

__all__ = ["hd95", "hd95_learn2reg"]


def hd95(
    first: NDArray[np.bool_] | Tensor, second: NDArray[np.bool_] | Tensor, spacing: float | Sequence[float]
) -> float:
    """Symmetric 95th percentile Hausdorff distance of two masks, that of MONAI's ``compute_hausdorff_distance``.

    SciPy's distance transform on the box around both gives it in a fifth of the time; it serves as a reward, too.

    Args:
        first: mask ``(X, Y, Z)``, bool.
        second: mask on the same grid.
        spacing: voxel size in mm, the unit of the result; one number or one per axis.

    Returns:
        The distance; infinity where one of the masks is empty, NaN where both are.
    """
    if not first.any() or not second.any():
        return np.nan if first.any() == second.any() else np.inf
    one, other = (torch.as_tensor(mask).cpu().numpy() for mask in (first, second))
    (box,) = find_objects((one | other).astype(np.uint8))
    surfaces = [mask[box] & ~binary_erosion(mask[box]) for mask in (one, other)]  # closed at the border of the box
    away = [distance_transform_edt(~surface, sampling=spacing) for surface in surfaces]
    return max(float(np.percentile(far[surface], 95)) for far, surface in zip(away, surfaces[::-1], strict=True))


def hd95_learn2reg(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """The same in voxels with every surface element weighed by its area, as Learn2Reg's official scorer does.

    The surface runs between the voxels (one element per 2 x 2 x 2 neighbourhood), and 95 % of its **area** is closer
    to the other surface than the result.

    Args:
        first: mask ``(X, Y, Z)``.
        second: mask on the same grid.

    Returns:
        The distance in voxels; infinity where a mask is empty.
    """
    from monai.metrics.utils import get_edge_surface_distance

    if not first.any() or not second.any():
        return np.inf
    (box,) = find_objects((first | second).astype(np.uint8))
    # one voxel of background around, so that a structure at the border of the image is closed there
    one, other = (torch.from_numpy(np.pad(mask[box], 1)) for mask in (first, second))
    with _quiet():
        edges, distances, areas = get_edge_surface_distance(
            one, other, spacing=[1, 1, 1], use_subvoxels=True, symmetric=True
        )
    both = zip(distances, edges, areas, strict=True)
    return max(_weighted_percentile(distance.numpy(), area[edge].numpy()) for distance, edge, area in both)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warning that MONAI 1.6 gives about an argument of its own call."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*always_return_as_numpy", category=FutureWarning)
        yield


def _weighted_percentile(distances: NDArray[Any], areas: NDArray[Any]) -> float:
    order = np.argsort(distances, kind="stable")
    share = np.cumsum(areas[order].astype(np.float64)) / areas.sum(dtype=np.float64)
    return float(distances[order][min(int(np.searchsorted(share, 0.95)), len(order) - 1)])
