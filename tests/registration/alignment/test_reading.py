"""Reading between voxels and shrinking in place."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from morphseek_monai.registration.alignment.body import centre_of_mass, prepared, random_points, relative_size
from morphseek_monai.registration.alignment.reading import read, shrink
from morphseek_monai.space.image import Image


def blobs(size: tuple[int, int, int] = (32, 28, 24), spacing: float = 2.0, seed: int = 0) -> Image:
    """An ellipsoid in air, filled with smooth texture."""
    rng = np.random.default_rng(seed)
    texture = ndimage.gaussian_filter(rng.normal(size=size), 2)
    texture = 0.6 + 0.3 * texture / np.abs(texture).max()
    radius = (((np.indices(size).T - (np.array(size) - 1) / 2) / (0.35 * np.array(size))) ** 2).sum(-1).T
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = [5.0, -20.0, 40.0]
    return Image((texture * (radius < 1)).astype(np.float32), affine)


def test_linear_between_voxels_and_nearest_beyond() -> None:
    array = np.random.default_rng(0).random((6, 5, 4), dtype=np.float32)
    affine = np.array([[2.0, 0.3, 0, 1], [0, 1.5, 0.2, -3], [0.1, 0, 3, 2], [0, 0, 0, 1]])
    image = Image(array, affine)
    voxels = np.random.default_rng(1).uniform(-2, 7, (3, 400))
    points = image.position(voxels.T).T.astype(np.float32)
    reading = read(image, points)
    expected = ndimage.map_coordinates(array, voxels, order=1, mode="nearest")
    np.testing.assert_allclose(reading.value, expected, atol=1e-5)
    top = np.array(array.shape)[:, None] - 1
    beyond = np.maximum(np.maximum(-voxels, voxels - top), 0)
    np.testing.assert_allclose(reading.weight, np.maximum(1 - beyond, 0).prod(0), atol=1e-5)


@pytest.mark.parametrize("masked", [False, True])
def test_slopes_are_differences(masked: bool) -> None:
    rng = np.random.default_rng(0)
    mask = rng.random((6, 5, 4), dtype=np.float32) if masked else None
    affine = np.array([[2.0, 0.3, 0, 1], [0, 1.5, 0.2, -3], [0.1, 0, 3, 2], [0, 0, 0, 1]])
    image = Image(rng.random((6, 5, 4), dtype=np.float32), affine, mask)
    voxels = rng.integers(-1, 5, (3, 300)) + rng.uniform(0.2, 0.8, (3, 300))  # no kink within a step
    points = image.position(voxels.T).T.astype(np.float32)
    reading = read(image, points)
    for axis in range(3):
        step = np.zeros((3, 1), np.float32)
        step[axis] = 0.02
        one, other = read(image, points + step), read(image, points - step)
        np.testing.assert_allclose(reading.slope[axis], (one.value - other.value) / 0.04, atol=2e-3)
        np.testing.assert_allclose(reading.weight_slope[axis], (one.weight - other.weight) / 0.04, atol=2e-3)


@pytest.mark.parametrize("spacing", [4.0, 6.0, 7.9])
def test_shrunk_image_stays_in_place(spacing: float) -> None:
    image = blobs((64, 57, 51), 2.0)
    small = shrink(image, spacing)
    np.testing.assert_allclose(small.spacing, 2 * np.rint(spacing / 2))
    np.testing.assert_allclose(centre_of_mass(small), centre_of_mass(image), atol=0.2)
    np.testing.assert_allclose(small.centre, image.centre, atol=2.0)


def test_shrinking_each_axis_by_its_own_spacing() -> None:
    image = Image(blobs((64, 64, 20)).array, np.diag([1.0, 2.0, 5.0, 1.0]))
    assert shrink(image, 4.0).array.shape == (16, 32, 20)
    assert shrink(image, 100.0).array.shape == (8, 8, 10)  # a thin slab keeps its slices
    assert shrink(image, 0.1).array.shape == (64, 64, 20)


def test_masked_voxels_do_not_bleed() -> None:
    image = blobs()
    mask = np.ones(image.array.shape, np.float32)
    mask[:12] = 0
    spoilt = shrink(Image(np.where(mask > 0, image.array, 9).astype(np.float32), image.affine, mask), 4.0)
    assert spoilt.mask is not None
    assert spoilt.array[spoilt.mask > 0.5].max() < 1.2
    assert (spoilt.mask[:5] == 0).all() and (spoilt.mask[8:] > 0.99).all()


@pytest.mark.parametrize(("gain", "offset"), [(1, 0), (1000, -500), (-2, 1), (1, -0.3)])
def test_points_lie_in_the_body_whatever_the_background(gain: float, offset: float) -> None:
    image = blobs()
    air = image.array == 0
    image = prepared(gain * image.array + offset, image.affine, None)
    points = random_points(image, 3000, np.random.default_rng(0))
    assert points.shape == (3, 3000) and points.dtype == np.float32
    voxels = (points.T - image.affine[:3, 3]) / 2
    near = np.rint(voxels).astype(int)
    far = ndimage.distance_transform_cdt(air, metric="taxicab")[tuple(near.T)]
    assert far.max() == 2  # MARGIN
    assert (far == 0).mean() > 0.4
    assert (voxels - near).std() > 0.25  # anywhere in their voxels
    assert len(np.unique(near, axis=0)) == 3000


def test_hole_in_the_body_belongs_to_it() -> None:
    image = blobs()
    image.array[10:22, 10:18, 8:16] = 0
    points = random_points(image, 10**6, np.random.default_rng(0)).T
    voxels = np.rint((points - image.affine[:3, 3]) / 2).astype(int)
    assert (voxels == [16, 14, 12]).all(axis=1).sum() == 1


def test_constant_border_is_masked_and_air_is_not() -> None:
    image = blobs()
    assert prepared(image.array, image.affine, None).mask is None
    padded = np.pad(image.array[4:-4, 4:-4, 4:-4], 4, constant_values=1)
    mask = prepared(padded, image.affine, None).mask
    assert mask is not None
    assert mask[5:-5, 5:-5, 5:-5].all() and mask.sum() == mask[5:-5, 5:-5, 5:-5].sum()
    own = np.ones(padded.shape, bool)
    own[:16] = False
    both = prepared(padded, image.affine, own).mask
    assert both is not None and not both[:16].any() and both[16:-5, 5:-5, 5:-5].all()


def test_relative_size() -> None:
    """Ten times as large is seen; a slab and a turned image are as large as the whole."""
    image = blobs()
    assert relative_size(image, image) == 1
    assert relative_size(image, blobs(spacing=20.0)) == pytest.approx(10)
    assert relative_size(blobs(spacing=20.0), image) == pytest.approx(0.1)
    assert relative_size(image, Image(image.array[:, :, 10:14], image.affine)) == 1
    assert relative_size(image, Image(image.array.transpose(2, 0, 1), image.affine)) == 1
