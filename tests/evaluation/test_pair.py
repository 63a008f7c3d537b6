"""Numbers of one pair: overlap, distances in mm, landmarks, folding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from morphseek_monai.base.errors import DataError
from morphseek_monai.data.scans.scan import Scan, read_scan
from morphseek_monai.evaluation.pair import score_field, score_labels, score_points
from morphseek_monai.registration.folder import read_registration
from morphseek_monai.space.grid import Grid
from morphseek_monai.spatial.transform import make_transform, map_points

GRID = Grid((16, 14, 12), np.diag([2.0, 1.0, 3.0, 1.0]))
STILL = make_transform(np.eye(4), None, GRID)


def box(first: int, label: int = 1, dtype: type = np.uint8) -> np.ndarray:
    array = np.zeros(GRID.size, dtype)
    array[first : first + 4, 4:9, 3:8] = label
    return array


def scan(array: np.ndarray, grid: Grid = GRID, name: str = "map") -> Scan:
    return Scan(name, array, grid.affine, None)


def shifted(voxels: int) -> object:
    matrix = np.eye(4)
    matrix[0, 3] = 2.0 * voxels
    return make_transform(matrix, None, GRID)


def test_a_shift_is_undone() -> None:
    """Fixed box at 4, moving at 6: Dice 0.5, two voxels of 2 mm apart; ``x + 4 mm`` finds it."""
    (score,) = score_labels(scan(box(4)), scan(box(6)), shifted(2))
    assert score == (1, 0.5, 1.0, pytest.approx(4.0), 0.0)
    (worse,) = score_labels(scan(box(4)), scan(box(6)), shifted(-1))
    assert worse.dice_after == pytest.approx(0.25) and worse.hd95_after == pytest.approx(6.0)


def test_labels_of_one_map_only_do_not_count_and_lost_ones_do() -> None:
    fixed = box(4) + box(10, 300, np.int16)
    moving = box(4) + box(10, 7, np.int16)
    by_label = {score.label: score for score in score_labels(scan(fixed), scan(moving), shifted(40))}
    assert set(by_label) == {1, 7, 300}
    assert np.isnan(by_label[7][1:]).all() and np.isnan(by_label[300][1:]).all()
    assert by_label[1][1:] == (1.0, 0.0, 0.0, np.inf)


def test_ids_may_be_any_whole_numbers() -> None:
    """Negative, huge, stored as floats."""
    fixed = box(1, -5, np.float64) + box(8, 2**30, np.float64)
    scores = score_labels(scan(fixed), scan(fixed), STILL)
    assert [score.label for score in scores] == [-5, 2**30]
    assert all(score.dice_after == 1 for score in scores)


def test_simpleitk_measures_the_same_overlap(registered: Path) -> None:
    names = [str(registered / f"{name}_label.nii.gz") for name in ("fixed", "moving")]
    fixed, moving = (sitk.ReadImage(name) for name in names)
    transform = sitk.ReadTransform(str(registered / "transform.h5"))
    scores = score_labels(
        *(read_scan(name, "label") for name in names), read_registration(registered).transform_from("fixed")
    )
    assert [score.label for score in scores] == [2, 7]
    for when, how in (("dice_before", sitk.Transform()), ("dice_after", transform)):
        overlap = sitk.LabelOverlapMeasuresImageFilter()
        overlap.Execute(sitk.Resample(moving, fixed, how, sitk.sitkNearestNeighbor), fixed)
        for score in scores:
            assert getattr(score, when) == pytest.approx(overlap.GetDiceCoefficient(score.label), abs=1e-6)
    assert min(score.dice_after for score in scores) > 0.75 > 0.7 > max(score.dice_before for score in scores)


def test_landmarks_in_millimetres() -> None:
    fixed = np.array([[0.0, 0, 0], [10, 0, 0], [0, 10, 0], [5, 5, 5]])
    moving = fixed + [[3, 4, 0], [0, 0, 1], [0, 0, 2], [0, 0, 0]]
    result = score_points(fixed, moving)
    assert (result.mean, result.maximum) == (2.0, 5.0)
    assert result.std == pytest.approx(np.std([5, 1, 2, 0])) and result.quantiles[1] == 1.5
    assert score_points(fixed, fixed + [4, 0, 0], shifted(2)).maximum == pytest.approx(0, abs=1e-9)


def test_landmarks_go_from_fixed_to_moving(registered: Path) -> None:
    result = read_registration(registered)
    points = result.fixed.centre + np.random.default_rng(0).uniform(-6, 6, (10, 3))
    phi = result.transform_from("fixed")
    assert score_points(points, map_points(phi, points), phi).maximum < 1e-9
    assert score_points(map_points(phi, points), points, phi).mean > 1


def test_folding_and_spread_of_the_field() -> None:
    fold = torch.zeros(1, 3, *GRID.size)
    fold[0, 0, 8] = -3.0  # the plane 8 comes to lie before 6
    result = score_field(make_transform(np.eye(4), fold, GRID), GRID)
    # slopes of -1.5 in plane 7, where 1 - 1.5 < 0; 1.5 in plane 9
    assert result.njd_percent == pytest.approx(100 / 16)
    assert result.sdlogj > result.sdlogj_l2r > 0
    flat = score_field(shifted(2), GRID)
    assert flat.njd_percent == 0 and flat.sdlogj == pytest.approx(0, abs=1e-4)


def test_what_cannot_be_scored() -> None:
    with pytest.raises(DataError, match="label map must hold whole numbers"):
        score_labels(scan(box(4).astype(np.float32) / 2), scan(box(4)), STILL)
    with pytest.raises(DataError, match="hold no label other than 0"):
        score_labels(scan(0 * box(4)), scan(0 * box(4)), STILL)
    with pytest.raises(DataError, match="the same landmarks line by line, got 2 and 3"):
        score_points(np.zeros((2, 3)), np.zeros((3, 3)))
    with pytest.raises(DataError, match="got 0 and 0"):
        score_points(np.zeros((0, 3)), np.zeros((0, 3)))
