"""Few parameters around a map: each model changes what it may, and climbs to a known top."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from morphseek_monai.registration.alignment.linear_map import (
    TransformModel,
    ascend,
    plausible,
    transformed,
    translation,
)

Array = NDArray[np.float64]

POINTS = np.random.default_rng(0).normal(size=(3, 500)).astype(np.float32)
TURN = Rotation.from_rotvec([0.3, -0.2, 0.25]).as_matrix()
LINEAR = {
    "rigid": TURN,
    "similarity": 1.2 * TURN,
    "affine": TURN @ np.array([[1.2, 0.1, 0], [0, 0.9, 0.1], [0, 0, 1.1]]),
}


def truth(model: str) -> Array:
    matrix = translation(np.array([0.3, -0.2, 0.1]))
    matrix[:3, :3] = LINEAR[model]
    return matrix


BESIDE = translation(np.array([-1.0, 0.5, 0.0]))
BESIDE[:3, :3] = Rotation.from_rotvec([0.2, 0.3, -0.1]).as_matrix()


def nearness(model: str):  # type: ignore[no-untyped-def]
    """Minus the mean squared distance of the points to where the true map puts them."""
    goal = transformed(POINTS, truth(model))

    def objective(places: NDArray[np.float32]) -> tuple[float, NDArray[np.float32]]:
        away = places - goal
        return -float((away**2).sum(0).mean()), -2 * away / POINTS.shape[1]

    return objective


@pytest.mark.parametrize("model", ["rigid", "similarity", "affine"])
@pytest.mark.parametrize("start", [np.eye(4), BESIDE])
def test_top_is_found(model: TransformModel, start: Array) -> None:
    found = ascend(nearness(model), POINTS, start, model, np.array([0.2, 0, 0]), 0.05, 100)
    np.testing.assert_allclose(found, truth(model), atol=5e-3)


def test_poorer_models_keep_their_form() -> None:
    rigid = ascend(nearness("affine"), POINTS, np.eye(4), "rigid", np.zeros(3), 0.05, 60)[:3, :3]
    np.testing.assert_allclose(rigid @ rigid.T, np.eye(3), atol=1e-9)
    similar = ascend(nearness("affine"), POINTS, np.eye(4), "similarity", np.zeros(3), 0.05, 60)[:3, :3]
    scale = np.linalg.det(similar) ** (1 / 3)
    np.testing.assert_allclose(similar @ similar.T, scale**2 * np.eye(3), atol=1e-9)
    assert scale > 1.02


def test_stiffness_holds_the_stretch() -> None:
    scales = [
        np.linalg.det(
            ascend(nearness("similarity"), POINTS, np.eye(4), "similarity", np.zeros(3), 0.05, 60, stiff)[:3, :3]
        )
        for stiff in (0.0, 1.0, 100.0)
    ]
    assert scales[0] == pytest.approx(1.2**3, rel=1e-3)
    assert scales[0] > scales[1] > scales[2] > 1
    assert scales[2] < 1.05


def test_no_step_runs_away() -> None:
    """However steep the objective promises to be."""
    goal = np.float32(1e6) * POINTS

    def steep(places: NDArray[np.float32]) -> tuple[float, NDArray[np.float32]]:
        return float((places * goal).sum(dtype=np.float64)), goal

    found = ascend(steep, POINTS, np.eye(4), "affine", np.zeros(3), 0.05, 50)
    assert np.isfinite(found).all() and np.abs(found).max() < 10


def test_no_slope_is_the_start() -> None:
    start = truth("affine")
    found = ascend(lambda places: (0.0, np.zeros_like(places)), POINTS, start, "affine", np.zeros(3), 0.05, 10)
    np.testing.assert_array_equal(found, start)


@pytest.mark.parametrize(
    ("linear", "expected"),
    [
        (np.diag([1.9, 0.55, 1.0]), True),
        (np.diag([2.1, 1.0, 1.0]), False),
        (np.diag([1.0, 0.45, 1.0]), False),
        (np.array([[1, 0.4, 0], [0, 1, 0], [0, 0, 1.0]]), True),
        (np.array([[1, 0.6, 0], [0, 1, 0], [0, 0, 1.0]]), False),
        (np.diag([-1.0, 1.0, 1.0]), False),
        (np.zeros((3, 3)), False),
    ],
)
def test_plausible(linear: Array, expected: bool) -> None:
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    assert plausible(matrix) is expected
