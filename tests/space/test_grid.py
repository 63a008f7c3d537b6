from __future__ import annotations

import numpy as np
import pytest

from morphseek_monai.space.grid import Grid

OBLIQUE = np.array([[0.0, -1.9, 0.3, 12.0], [1.2, 0.0, 0.1, -7.0], [0.1, 0.4, 2.9, 90.0], [0, 0, 0, 1]])


def test_spacing_is_the_length_of_a_step_along_each_axis() -> None:
    grid = Grid((5, 6, 7), OBLIQUE)
    steps = [OBLIQUE @ np.eye(4)[axis] for axis in range(3)]
    np.testing.assert_allclose(grid.spacing, [np.linalg.norm(step[:3]) for step in steps])


@pytest.mark.parametrize("size", [(5, 6, 7), (8, 8, 8)])
def test_centre_is_the_mean_of_all_voxels(size: tuple[int, int, int]) -> None:
    voxels = np.indices(size).reshape(3, -1)
    world = OBLIQUE[:3, :3] @ voxels + OBLIQUE[:3, 3:]
    np.testing.assert_allclose(Grid(size, OBLIQUE).centre, world.mean(1))


def test_header_round_off_is_the_same_grid() -> None:
    single = OBLIQUE.astype(np.float32).astype(np.float64)
    assert not np.array_equal(single, OBLIQUE)
    assert Grid((5, 6, 7), OBLIQUE).same_as(Grid((5, 6, 7), single))


@pytest.mark.parametrize(("voxels", "same"), [(0.9e-4, True), (1.1e-4, False), (-1.1e-4, False)])
def test_tolerance_counts_voxels_not_millimetres(voxels: float, same: bool) -> None:
    affine, other = np.diag([10.0, 10, 10, 1]), np.diag([10.0, 10, 10, 1])
    other[1, 3] = voxels * 10
    assert Grid((9, 9, 9), affine).same_as(Grid((9, 9, 9), other)) is same
    assert Grid((9, 9, 9), affine).same_as(Grid((9, 9, 9), other), tolerance=1e-3)


def test_another_spacing_shows_at_the_far_corner_only() -> None:
    other = np.diag([1 + 2e-5, 1, 1, 1])
    assert Grid((4, 4, 4), np.eye(4)).same_as(Grid((4, 4, 4), other))
    assert not Grid((40, 4, 4), np.eye(4)).same_as(Grid((40, 4, 4), other))


def test_other_sizes_and_affines_that_are_none_are_never_the_same() -> None:
    grid = Grid((5, 6, 7), np.eye(4))
    assert not grid.same_as(Grid((5, 6, 8), np.eye(4)))
    assert not grid.same_as(Grid((5, 6, 7), np.full((4, 4), np.nan)))
    assert not Grid((5, 6, 7), np.zeros((4, 4))).same_as(Grid((5, 6, 7), np.zeros((4, 4))))
