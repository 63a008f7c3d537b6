"""Votes against dense one-hot volumes, and against SimpleITK's label voting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from morphseek_monai.data.scans.scan import Scan
from morphseek_monai.registration.segmentation import fusion
from morphseek_monai.registration.segmentation.fusion import fuse, fuse_slabs
from morphseek_monai.registration.segmentation.structures import structure_rows
from morphseek_monai.registration.segmentation.voters import Voters, store_voters
from morphseek_monai.space.grid import Grid
from morphseek_monai.spatial.point_map import Field, PointMap
from morphseek_monai.spatial.transform import resample

IDS = np.array([0, 3, -5, 70000, 12], np.int32)


def some_labels(seed: int, shape: tuple[int, ...]) -> NDArray[np.int32]:
    return np.random.default_rng(seed).choice(IDS, shape)


def dense(labels: NDArray[np.int32], weights: NDArray[np.float32]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The same by one volume per label."""
    known = np.unique(labels)
    votes = np.stack([np.where(labels == label, weights, 0).sum(0) for label in known])
    return known[votes.argmax(0)], votes.max(0) / weights.sum(0)


def test_weighted_votes_are_those_of_one_hot_volumes() -> None:
    labels = some_labels(0, (7, 9, 8, 10))
    labels[:, :4] = labels[:1, :4]  # no dispute there
    weights = np.random.default_rng(1).random(labels.shape, np.float32)
    expected, share = dense(labels, weights)
    found = fuse(labels, weights)
    np.testing.assert_array_equal(found.labels, expected)
    np.testing.assert_allclose(found.agreement, share, rtol=1e-5)
    assert found.labels.dtype == np.int32 and found.agreement.dtype == np.float32


def test_majority_is_simpleitk_label_voting() -> None:
    labels = np.random.default_rng(2).integers(0, 4, (5, 12, 11, 10)).astype(np.uint8)
    undecided = 255
    judge = sitk.GetArrayFromImage(sitk.LabelVoting([sitk.GetImageFromArray(one) for one in labels], undecided))
    found = fuse(labels, np.ones(labels.shape, np.float32)).labels
    decided = judge != undecided
    assert 0.5 < decided.mean() < 1
    np.testing.assert_array_equal(found[decided], judge[decided])


def test_ties_go_to_the_smallest_and_nobody_to_the_background() -> None:
    labels = np.array([[9, 9, 9], [4, 4, 4]])
    found = fuse(labels, np.array([[1.0, 1, 0], [1, 2, 0]]))
    assert found.labels.tolist() == [4, 4, 0]
    np.testing.assert_allclose(found.agreement, [0.5, 2 / 3, 0])


def oblique(degrees: list[float], spacing: list[float], size: tuple[int, int, int]) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() * spacing
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(size) - 1) / 2)
    return Grid(size, affine)


SCAN = oblique([5, -8, 12], [1.5, 1.2, 2.0], (14, 15, 11))


@pytest.fixture
def three(tmp_path: Path) -> tuple[list[Voters], dict[int, NDArray[np.float32]], NDArray[np.float32]]:
    """Atlases of other grids behind fields, one of which sees half of the scan; votes by label, and of all."""
    voters, votes, total = [], {}, np.zeros(SCAN.size, np.float32)
    for seed, size in enumerate(((12, 16, 9), (20, 10, 15), (6, 16, 13))):
        grid = oblique([3 * seed, 4, -5], [1.7, 1.4, 1.9], size)
        labels = np.repeat(some_labels(seed, (size[0], size[1], 1)), size[2], axis=2)
        ddf = torch.from_numpy(np.random.default_rng(seed).normal(0, 0.6, (1, 3, *SCAN.size))).float()
        points = PointMap((Field(ddf, SCAN), np.diag([1.05, 0.95, 1, 1])))
        weights = np.random.default_rng(seed).random(SCAN.size, np.float32) + 0.1
        scan = Scan(f"atlas {seed}", labels, grid.affine, None, is_label=True)
        voters.append(store_voters(tmp_path / str(seed), scan, points, weights, SCAN))
        seen = resample(np.ones(size, np.uint8), grid.affine, points, SCAN, "nearest", 0)
        assert seed != 2 or 0.2 < seen.mean() < 0.8
        total += weights * seen
        for label in IDS.tolist():
            share = resample((labels == label).astype(np.float32), grid.affine, points, SCAN, "linear", 0.0)
            votes[label] = votes.get(label, 0) + weights * share * seen
    return voters, votes, total


@pytest.mark.parametrize("votes_at_a_time", [1, 2**22])
def test_slabs_of_voters_are_interpolated_one_hot_volumes(
    votes_at_a_time: int,
    three: tuple[list[Voters], dict[int, NDArray[np.float32]], NDArray[np.float32]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    voters, votes, total = three
    monkeypatch.setattr(fusion, "VOTES", votes_at_a_time)
    found = fuse_slabs(voters, SCAN)
    known = sorted(votes)
    stack = np.stack([votes[label] for label in known])
    expected = np.where(total > 0, np.array(known)[stack.argmax(0)], 0)
    first, second = np.sort(stack, axis=0)[-1:-3:-1]
    clear = first - second > 1e-4
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(found.labels[clear], expected[clear])
    share = np.divide(first, total, out=np.zeros_like(total), where=total > 0)
    np.testing.assert_allclose(found.agreement, share, atol=1e-4)


def test_structures_in_numbers() -> None:
    labels = np.zeros((4, 5, 6), np.int32)
    labels[0], labels[1, :, 0] = 7, 2
    agreement = np.full(labels.shape, 0.25, np.float32)
    agreement[0, :3], agreement[0, 3:] = 0.5, 1.0
    grid = oblique([5, -8, 12], [1.5, 1.0, 2.0], (4, 5, 6))
    rows = structure_rows(fusion.Fused(labels, agreement), grid, {0: 3, 2: 1, 7: 3, 9: 2})
    assert rows == [
        {"label": 2, "voxels": 5, "volume_mm3": 15.0, "agreement": 0.25, "atlases": 1},
        {"label": 7, "voxels": 30, "volume_mm3": 90.0, "agreement": 0.7, "atlases": 3},
        {"label": 9, "voxels": 0, "volume_mm3": 0.0, "agreement": "", "atlases": 2},
    ]
