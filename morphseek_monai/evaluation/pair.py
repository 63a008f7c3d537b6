"""How good a registration is: overlap and distance of labels, distance of landmarks, regularity of the field."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from morphseek_monai.base.errors import DataError
from morphseek_monai.base.lazy import lazy_module
from morphseek_monai.data.scans.scan import Scan
from morphseek_monai.fields import njd_percent, sdlogj, sdlogj_l2r
from morphseek_monai.metrics import hard_dice
from morphseek_monai.metrics.hausdorff import hd95
from morphseek_monai.space.grid import Grid

from ..spatial.apply import warp_scan
from ..spatial.transform import map_points, to_ddf

itk = lazy_module("itk")

__all__ = ["LabelScore", "Landmarks", "Regularity", "score_field", "score_labels", "score_points"]

QUANTILES = (0.25, 0.5, 0.75, 0.95)


class LabelScore(NamedTuple):
    """One structure before and after registration.

    Attributes:
        label: its id.
        dice_before: overlap of the fixed and the moving label map as the scanners placed them, 0 to 1.
        dice_after: overlap after registration.
        hd95_before: 95th percentile Hausdorff distance in mm before.
        hd95_after: and after; infinity where the warped structure lies outside the fixed image.

    All are NaN for a label that only one of the two maps has.
    """

    label: int
    dice_before: float
    dice_after: float
    hd95_before: float
    hd95_after: float


class Landmarks(NamedTuple):
    """Target registration error in mm.

    Attributes:
        mean: of all landmarks.
        std: population standard deviation.
        quantiles: 25, 50, 75 and 95 %.
        maximum: of all landmarks.
    """

    mean: float
    std: float
    quantiles: tuple[float, ...]
    maximum: float


class Regularity(NamedTuple):
    """What the field of a whole transform does to the fixed grid.

    Attributes:
        njd_percent: voxels whose Jacobian determinant is not positive, in percent.
        sdlogj: standard deviation of log J over the others.
        sdlogj_l2r: as in Learn2Reg's leaderboards, with 3 added to J.
    """

    njd_percent: float
    sdlogj: float
    sdlogj_l2r: float


def score_labels(fixed: Scan, moving: Scan, transform: Any) -> list[LabelScore]:
    """Compare label maps on the fixed grid, the moving one warped once by nearest neighbour.

    Args:
        fixed: label map of the fixed image; its grid is that of the comparison.
        moving: label map of the moving image on its own grid.
        transform: points of the fixed image -> points of the moving image.

    Returns:
        One score per label other than 0 that either map has, in their order.

    Raises:
        DataError: a map holds fractions, or both are empty.
    """
    for scan in (fixed, moving):
        if not np.array_equal(scan.array, np.rint(scan.array)):
            raise DataError(f"label {scan.name} must hold whole numbers, got others; give the segmentation")
    still = itk.IdentityTransform[itk.D, 3].New()
    before, after = (warp_scan(moving, how, fixed.grid, "nearest").array for how in (still, transform))
    labels = np.union1d(np.unique(fixed.array), np.unique(moving.array))
    labels = labels[labels != 0]
    if not len(labels):
        raise DataError(f"{fixed.name} and {moving.name} hold no label other than 0; give the segmentations")
    maps = [_contiguous(array, labels) for array in (fixed.array, moving.array, before, after)]
    num_labels = len(labels) + 1
    dice = [hard_dice(maps[0], warped, num_labels, moving=maps[1])[0].tolist() for warped in maps[2:]]
    scores, spacing = [], fixed.grid.spacing.tolist()
    for index, label in enumerate(labels, start=1):
        fixed_mask, moving_mask, *warped_masks = [(ids[0, 0] == index).numpy() for ids in maps]
        known = fixed_mask.any() and moving_mask.any()
        distances = [hd95(fixed_mask, warped, spacing) if known else np.nan for warped in warped_masks]
        scores.append(LabelScore(int(label), dice[0][index - 1], dice[1][index - 1], *distances))
    return scores


def score_points(fixed: NDArray[Any], moving: NDArray[Any], transform: Any = None) -> Landmarks:
    """Distance between landmarks of the moving image and where a transform brings those of the fixed image.

    Args:
        fixed: ``(N, 3)`` RAS mm.
        moving: ``(N, 3)`` RAS mm, in the same order.
        transform: points of the fixed image -> points of the moving image; None for the distance before.

    Raises:
        DataError: different numbers of points, or none.
    """
    if len(fixed) != len(moving) or not len(fixed):
        raise DataError(
            f"fixed_points and moving_points must be the same landmarks line by line, got {len(fixed)} and"
            f" {len(moving)} points; take those out that only one image has"
        )
    error = np.linalg.norm((fixed if transform is None else map_points(transform, fixed)) - moving, axis=1)
    quantiles = tuple(float(value) for value in np.quantile(error, QUANTILES))
    return Landmarks(float(error.mean()), float(error.std()), quantiles, float(error.max()))


def score_field(transform: Any, grid: Grid) -> Regularity:
    """Regularity of a whole transform, sampled on the fixed grid.

    Args:
        transform: points of the fixed image -> points of the moving image.
        grid: of the fixed image.
    """
    ddf = to_ddf(transform, grid)
    learn2reg = float(sdlogj_l2r(ddf)) if min(grid.size) >= 5 else np.nan
    return Regularity(float(njd_percent(ddf)), float(sdlogj(ddf)), learn2reg)


def _contiguous(array: NDArray[Any], labels: NDArray[Any]) -> torch.Tensor:
    """Ids ``(1, 1, X, Y, Z)``: 0 stays, the labels become 1, 2, ..."""
    return torch.from_numpy(np.where(array == 0, 0, np.searchsorted(labels, array) + 1))[None, None]
