"""Mutual information has known values, and its ascent a known top."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from morphseek_monai.registration.mutual_information import Volume, climb, mutual_information, sample


def blobs(size: tuple[int, int, int] = (32, 28, 24), spacing: float = 2.0, seed: int = 0) -> Volume:
    """An ellipsoid in air, filled with smooth texture."""
    rng = np.random.default_rng(seed)
    texture = ndimage.gaussian_filter(rng.normal(size=size), 2)
    texture = 0.6 + 0.3 * texture / np.abs(texture).max()
    radius = (((np.indices(size).T - (np.array(size) - 1) / 2) / (0.35 * np.array(size))) ** 2).sum(-1).T
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = [5.0, -20.0, 40.0]
    return Volume((texture * (radius < 1)).astype(np.float32), affine)


def shift(*by: float) -> NDArray[np.float64]:
    matrix = np.eye(4)
    matrix[:3, 3] = by
    return matrix


def test_value_of_two_equal_halves() -> None:
    """Half 0, half 1, against itself: one bit, log 2 nats; against an independent half: nothing."""
    left, front = np.zeros((2, 16, 16, 16), np.float32)
    left[:8], front[:, :8] = 1, 1
    volume = Volume(left, np.eye(4))
    assert mutual_information(volume, volume, np.eye(4)) == pytest.approx(np.log(2), abs=0.02)
    assert mutual_information(volume, Volume(1 - left, np.eye(4)), np.eye(4)) == pytest.approx(np.log(2), abs=0.02)
    assert mutual_information(volume, Volume(front, np.eye(4)), np.eye(4)) == pytest.approx(0, abs=1e-6)


def test_little_overlap_does_not_win() -> None:
    """Over the overlap alone two equal corners would do as well as two equal heads."""
    image = blobs()
    whole = mutual_information(image, image, np.eye(4))
    assert mutual_information(image, image, shift(30, 0, 0)) < 0.3 * whole
    assert mutual_information(image, image, shift(500, 0, 0)) == 0
    assert mutual_information(image, Volume(np.zeros_like(image.array), image.affine), np.eye(4)) == 0


def test_matrix_maps_fixed_to_moving() -> None:
    image = blobs()
    moved = Volume(image.array, shift(10, -4, 6) @ image.affine)
    value = mutual_information(image, moved, shift(10, -4, 6))
    assert value == pytest.approx(mutual_information(image, image, np.eye(4)))
    assert value > 2 * mutual_information(image, moved, shift(-10, 4, -6))


@pytest.mark.parametrize("spacing", [4.0, 6.0, 7.9])
def test_shrunk_image_stays_in_place(spacing: float) -> None:
    image = blobs((64, 57, 51), 2.0)
    small = image.shrink(spacing)
    np.testing.assert_allclose(small.spacing, 2 * np.rint(spacing / 2))
    np.testing.assert_allclose(small.centre_of_mass, image.centre_of_mass, atol=0.2)
    np.testing.assert_allclose(small.centre, image.centre, atol=2.0)


def test_shrinking_each_axis_by_its_own_spacing() -> None:
    image = Volume(blobs((64, 64, 20)).array, np.diag([1.0, 2.0, 5.0, 1.0]))
    small = image.shrink(4.0)
    assert small.array.shape == (16, 32, 20)
    assert image.shrink(100.0).array.shape == (8, 8, 10)  # a thin slab keeps its slices
    assert image.shrink(0.1).array.shape == (64, 64, 20)


def test_points_lie_in_the_body_and_close_to_it() -> None:
    image = blobs()
    points = sample(image, 3000, np.random.default_rng(0))
    assert points.shape == (3000, 3)
    voxels = np.rint((points - image.affine[:3, 3]) / 2).astype(int)
    far = ndimage.distance_transform_cdt(image.array == 0, metric="taxicab")[tuple(voxels.T)]
    assert far.max() == 2  # MARGIN
    assert (far == 0).mean() > 0.4
    offset = (points - image.affine[:3, 3]) / 2 - voxels
    assert np.abs(offset).max() <= 0.5 and offset.std() > 0.25  # anywhere in their voxels
    assert len(np.unique(voxels, axis=0)) == 3000


def test_hole_in_the_body_belongs_to_it() -> None:
    image = blobs()
    image.array[10:22, 10:18, 8:16] = 0
    voxels = np.rint((sample(image, 10**6, np.random.default_rng(0)) - image.affine[:3, 3]) / 2).astype(int)
    assert (voxels == [16, 14, 12]).all(axis=1).sum() == 1


@pytest.mark.parametrize("kind", ["rigid", "affine"])
def test_climbing_finds_the_top(kind: str) -> None:
    image = blobs()
    moved = Volume(image.array, shift(5, -4, 3) @ image.affine)
    points = sample(image, 5000, np.random.default_rng(0))
    matrix = climb(kind, image, moved, points, np.eye(4), image.centre_of_mass, 20.0, 2.0)  # type: ignore[arg-type]
    assert matrix is not None
    error = points @ (matrix - shift(5, -4, 3))[:3, :3].T + (matrix - shift(5, -4, 3))[:3, 3]
    assert np.linalg.norm(error, axis=1).mean() < 0.2


def test_climbing_without_overlap_ends_at_once() -> None:
    image = blobs()
    points = sample(image, 1000, np.random.default_rng(0))
    far = shift(1000, 0, 0)
    matrix = climb("rigid", image, image, points, far, image.centre_of_mass, 20.0, 2.0)
    assert matrix is None or np.abs(matrix - far).max() < 5
