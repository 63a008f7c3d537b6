"""Squared local correlation: 1 where contrasts match or are inverted, and its derivative."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from morphseek_monai.registration.alignment.patch_correlation import PatchCorrelation
from morphseek_monai.space.image import Image


def texture(seed: int = 0) -> NDArray[np.float32]:
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(20, 18, 16)), 1.5)
    return ((smooth - smooth.min()) / np.ptp(smooth)).astype(np.float32)


def middles(count: int = 40, low: float = 3, high: float = 12) -> NDArray[np.float32]:
    return np.random.default_rng(1).uniform(low, high, (3, count)).astype(np.float32)


@pytest.mark.parametrize(("gain", "offset"), [(1.0, 0.0), (0.5, 0.3), (-0.8, 0.9)])
def test_any_linear_contrast_correlates(gain: float, offset: float) -> None:
    fixed, moving = (Image(array.astype(np.float32), np.eye(4)) for array in (texture(), gain * texture() + offset))
    patches = PatchCorrelation(fixed, moving, middles())
    assert patches.points.shape == (3, 40 * 125)
    assert patches(patches.points)[0] > 0.8
    assert PatchCorrelation(fixed, Image(texture(5), np.eye(4)), middles())(patches.points)[0] < 0.3


def test_flat_patches_do_not_correlate() -> None:
    noise = 1e-4 * texture()
    patches = PatchCorrelation(Image(noise, np.eye(4)), Image(noise, np.eye(4)), middles())
    value, slope = patches(patches.points)
    assert value < 0.01 and np.isfinite(slope).all()


def test_patches_beyond_the_moving_image_do_not_count() -> None:
    image = Image(texture(), np.eye(4))
    cut = Image(image.array[:8], np.eye(4))
    patches = PatchCorrelation(image, cut, middles())
    assert patches(patches.points)[0] > 0.8
    assert patches(patches.points + 100)[0] == 0


def test_derivative_is_that_of_the_value() -> None:
    fixed, moving = Image(texture(), np.eye(4)), Image(texture(), np.diag([1.1, 1.0, 0.9, 1.0]))
    patches = PatchCorrelation(fixed, moving, middles())
    slope = patches(patches.points)[1].sum(1, dtype=np.float64)
    for axis in range(3):
        step = np.zeros((3, 1), np.float32)
        step[axis] = 0.02
        difference = (patches(patches.points + step)[0] - patches(patches.points - step)[0]) / 0.04
        assert slope[axis] == pytest.approx(difference, rel=0.05, abs=1e-3)
