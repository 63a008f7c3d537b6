"""How well two label maps agree: Dice of all and of the inner structures, and the Hausdorff distance.

figures = score(fixed_label, warped_label, pair.spacing, pair.inner)
figures.dice, figures.inner_dice, figures.hd95
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from morphseek_monai.metrics import hard_dice
from morphseek_monai.metrics.hausdorff import hd95


class Scores(NamedTuple):
    """Agreement of two label maps.

    Attributes:
        dice: mean Dice (%) of all structures of the fixed map.
        inner_dice: the same over the inner structures.
        hd95: mean 95th percentile Hausdorff distance of all structures, in the unit of the spacing; infinity where the
            warped map has lost one, NaN where it was not wanted.
        dices: Dice (%) by label.
    """

    dice: float
    inner_dice: float
    hd95: float
    dices: dict[int, float]


def score(
    fixed: NDArray[Any],
    warped: NDArray[Any],
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    inner: Sequence[int] | None = None,
    distances: bool = True,
) -> Scores:
    """Compare two label maps on one grid.

    Args:
        fixed: label map ``(D, H, W)`` of whole numbers, 0 = background.
        warped: the moving label map on the grid of ``fixed``.
        spacing: voxel size, the unit of the distance.
        inner: labels of the inner structures; default all.
        distances: whether to compute the distance, 8 s on 1 mm brains; Dice takes half a second.

    Raises:
        ValueError: When the grids differ, or ``fixed`` has no structure or none of ``inner``.
    """
    if fixed.shape != warped.shape:
        raise ValueError(f"score() wants two label maps on one grid, got {fixed.shape} and {warped.shape}")
    first, second = (_whole(label) for label in (fixed, warped))
    count = 1 + int(max(first.max(), second.max()))
    one, other = (torch.from_numpy(label)[None, None] for label in (first, second))
    dice = 100 * hard_dice(one, other, count)[0].double().numpy()
    dices = {label: float(value) for label, value in enumerate(dice, start=1) if not np.isnan(value)}
    own = [value for label, value in dices.items() if inner is None or label in inner]
    if not own:
        raise ValueError(
            f"score() wants a fixed label map with structures of {inner or 'any label'}, got {list(dices)}"
        )
    away = [hd95(first == label, second == label, spacing) for label in dices] if distances else [np.nan]
    return Scores(float(np.mean(list(dices.values()))), float(np.mean(own)), float(np.mean(away)), dices)


def _whole(label: NDArray[Any]) -> NDArray[np.int16]:
    return np.ascontiguousarray(label if np.issubdtype(label.dtype, np.integer) else np.rint(label)).astype(np.int16)
