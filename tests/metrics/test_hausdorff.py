"""Hausdorff distances against brute force and Learn2Reg's own library."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.metrics.hausdorff_distance import compute_hausdorff_distance
from scipy.ndimage import binary_erosion

from morphseek_monai.metrics.hausdorff import hd95, hd95_learn2reg

SPACING = (0.7, 1.3, 2.1)


def blob(seed: int, size: tuple[int, int, int] = (16, 18, 14)) -> np.ndarray:
    random = np.random.default_rng(seed)
    centre = np.array(size) / 2 + random.uniform(-2, 2, 3)
    radii = random.uniform(2.5, 5, 3)
    where = (np.indices(size).transpose(1, 2, 3, 0) - centre) / radii
    return (where**2).sum(-1) + 0.2 * random.standard_normal(size) < 1


def test_a_shifted_box_is_its_shift_away_in_millimetres() -> None:
    box = np.zeros((20, 16, 12), bool)
    box[4:10, 4:10, 3:8] = True
    assert hd95(box, np.roll(box, 3, axis=0), SPACING) == pytest.approx(3 * 0.7)
    assert hd95(box, np.roll(box, 2, axis=2), SPACING) == pytest.approx(2 * 2.1)
    assert hd95_learn2reg(box, np.roll(box, 3, axis=0)) == pytest.approx(3)
    assert hd95(box, box, SPACING) == hd95_learn2reg(box, box) == 0


@pytest.mark.parametrize("seed", range(3))
def test_millimetres_by_brute_force(seed: int) -> None:
    masks = blob(2 * seed), blob(2 * seed + 1)
    edges = [np.argwhere(mask & ~binary_erosion(mask)) * SPACING for mask in masks]
    table = np.linalg.norm(edges[0][:, None] - edges[1][None], axis=2)
    expected = max(np.quantile(table.min(axis=axis), 0.95) for axis in (0, 1))
    assert hd95(*masks, SPACING) == pytest.approx(expected, rel=1e-5)


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")
@pytest.mark.parametrize("spacing", [1.0, SPACING])
@pytest.mark.parametrize("seed", range(6))
def test_is_that_of_monai(seed: int, spacing: float | tuple[float, ...]) -> None:
    masks = [torch.from_numpy(mask) for mask in case(seed)]
    expected = compute_hausdorff_distance(
        *[mask[None, None] for mask in masks], include_background=True, percentile=95, spacing=spacing
    )
    assert hd95(masks[0], masks[1], spacing) == pytest.approx(expected.item(), rel=1e-6)


def test_empty_masks() -> None:
    full, empty = blob(0), np.zeros((16, 18, 14), bool)
    assert hd95(full, empty, SPACING) == hd95(empty, full, SPACING) == np.inf
    assert hd95_learn2reg(full, empty) == hd95_learn2reg(empty, full) == np.inf
    assert np.isnan(hd95(empty, empty, SPACING))


def case(seed: int) -> tuple[np.ndarray, np.ndarray]:
    cut = 6 if seed > 3 else 0  # structures that reach the border of the image
    return blob(2 * seed)[cut:], blob(2 * seed + 1)[cut:]


@pytest.mark.parametrize(("seed", "squared"), enumerate([10, 2, 6, 9, 9, 13]))
def test_learn2reg_weighs_by_area(seed: int, squared: int) -> None:
    """Distances by ``surface_distance`` 0.1, the library of the official scorer; unweighted ones differ."""
    assert hd95_learn2reg(*case(seed)) == pytest.approx(squared**0.5, rel=1e-6)
    assert hd95(*case(seed), (1, 1, 1)) > squared**0.5 + 0.1


@pytest.mark.parametrize("seed", range(6))
def test_learn2reg_is_the_library_of_the_official_scorer(seed: int) -> None:
    official = pytest.importorskip("surface_distance")
    distances = official.compute_surface_distances(*case(seed), np.ones(3))
    expected = official.compute_robust_hausdorff(distances, 95.0)
    assert hd95_learn2reg(*case(seed)) == pytest.approx(expected, rel=1e-6)
