"""Landmarks that pull a field: where the images say nothing, against the images, and against each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from torch import Tensor

from morphseek_monai.fields import njd_percent, warp
from morphseek_monai.inference.instance_optimisation import optimise
from morphseek_monai.inference.landmark_force import LandmarkForce

from .test_instance_optimisation import SIZE, field, texture

FLAT = torch.full((1, 1, *SIZE), 0.5)
SPACING = [1.0, 1.0, 1.0]


def scattered(count: int = 30, margin: float = 6.0) -> Tensor:
    unit = torch.rand(3, count, generator=torch.Generator().manual_seed(0))
    return unit * (torch.tensor(SIZE)[:, None] - 1 - 2 * margin) + margin


def displaced(ddf: Tensor, points: Tensor) -> Tensor:
    """Where a field brings points, by SciPy."""
    return points + torch.from_numpy(np.stack([map_coordinates(u, points.numpy(), order=1) for u in ddf[0].numpy()]))


def off(landmarks: LandmarkForce, ddf: Tensor) -> float:
    """Voxels, mean."""
    return float(torch.linalg.vector_norm(landmarks.residuals(ddf[0]), dim=0).mean())


@pytest.fixture(scope="module")
def landmarks() -> LandmarkForce:
    points = scattered()
    return LandmarkForce(points, displaced(field(), points), SIZE)


def test_residuals_are_those_of_scipy(landmarks: LandmarkForce) -> None:
    expected = landmarks.wanted - displaced(0.5 * field(), landmarks.fixed)
    torch.testing.assert_close(landmarks.residuals(0.5 * field()[0]), expected, atol=1e-5, rtol=0)


def test_where_the_images_say_nothing_the_landmarks_are_met(landmarks: LandmarkForce) -> None:
    before = off(landmarks, torch.zeros(1, 3, *SIZE))
    assert off(landmarks, optimise(FLAT, FLAT, SPACING).ddf) == pytest.approx(before)  # nothing pulls
    found = optimise(FLAT, FLAT, SPACING, landmarks=landmarks).ddf
    assert off(landmarks, found) < 0.15 * before
    assert njd_percent(found).item() == 0


def test_the_field_between_landmarks_is_that_of_a_smooth_truth() -> None:
    truth = torch.zeros(1, 3, *SIZE)
    truth[:, 0] = 3 * torch.linspace(0, torch.pi, SIZE[1]).sin()[None, :, None]
    points = scattered(60)
    seen, others = points[:, :50], points[:, 50:]
    found = optimise(FLAT, FLAT, SPACING, landmarks=LandmarkForce(seen, displaced(truth, seen), SIZE)).ddf
    wanted = displaced(truth, others)
    before, after = (torch.linalg.vector_norm(p - wanted, dim=0).mean() for p in (others, displaced(found, others)))
    assert after < 0.1 * before


def test_images_and_landmarks_agree_better_together(landmarks: LandmarkForce) -> None:
    fixed = warp(texture(), field())
    alone, both = (optimise(texture(), fixed, SPACING, landmarks=marks).ddf for marks in (None, landmarks))
    assert off(landmarks, both) < 0.6 * off(landmarks, alone)
    assert njd_percent(both).item() == 0


def test_against_the_images_they_are_approached(landmarks: LandmarkForce) -> None:
    still = texture()
    found = optimise(still, still.clone(), SPACING, landmarks=landmarks).ddf
    assert off(landmarks, found) < 0.4 * off(landmarks, torch.zeros(1, 3, *SIZE))


def test_landmarks_that_change_places_do_not_fold() -> None:
    line = torch.tensor([[18.0, 22.0], [20.0, 20.0], [18.0, 18.0]])
    crossing = LandmarkForce(line, line + torch.tensor([[8.0, -8.0], [0.0, 0.0], [0.0, 0.0]]), SIZE)
    found = optimise(FLAT, FLAT, SPACING, landmarks=crossing).ddf
    assert njd_percent(found).item() == 0 and off(crossing, found) > 1


def test_a_step_is_the_residual_at_a_landmark_and_nothing_far_from_it() -> None:
    one = LandmarkForce(torch.tensor([[10.0], [12.0], [9.0]]), torch.tensor([[10.5], [12.0], [9.0]]), SIZE)
    step = one.step(torch.zeros(3, *SIZE))
    torch.testing.assert_close(step[:, 10, 12, 9], torch.tensor([0.5, 0.0, 0.0]))
    assert step[:, 35:].abs().max() < 1e-4
    far = LandmarkForce(one.fixed, one.wanted + 50, SIZE).step(torch.zeros(3, *SIZE))
    assert torch.linalg.vector_norm(far, dim=0).max() <= 1 + 1e-5


def test_another_resolution_has_the_same_places() -> None:
    corners = torch.tensor([[-0.5, SIZE[0] - 0.5], [-0.5, SIZE[1] - 0.5], [-0.5, SIZE[2] - 0.5]])
    half = LandmarkForce(corners, corners, SIZE).at([20, 22, 18])
    torch.testing.assert_close(half.fixed, torch.tensor([[-0.5, 19.5], [-0.5, 21.5], [-0.5, 17.5]]))
