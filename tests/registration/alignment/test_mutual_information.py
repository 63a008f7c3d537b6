"""Mutual information has known values, and its derivative is that of its values."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from morphseek_monai.registration.alignment.mutual_information import MutualInformation
from morphseek_monai.space.image import Image

ENDS = (4, 5, 6)


def texture(size: tuple[int, int, int] = (20, 18, 16), seed: int = 0) -> NDArray[np.float32]:
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=size), 2)
    return ((smooth - smooth.min()) / np.ptp(smooth)).astype(np.float32)


def every_voxel(size: tuple[int, int, int]) -> NDArray[np.float32]:
    return np.indices(size).reshape(3, -1).astype(np.float32)


def test_value_of_two_equal_halves() -> None:
    """Half 0, half 1, against itself: one bit, log 2 nats; against an independent half: nothing."""
    left, front = np.zeros((2, 16, 16, 16), np.float32)
    left[:8], front[:, :8] = 1, 1
    points = every_voxel(left.shape)
    for other, value in ((left, np.log(2)), (1 - left, np.log(2)), (front, 0)):
        information, _, overlap = MutualInformation(Image(left, np.eye(4)), Image(other, np.eye(4)), points)(points)
        assert information == pytest.approx(value, abs=1e-5)
        assert overlap == 1


def test_little_overlap_does_not_win() -> None:
    image = Image(texture(), np.eye(4))
    points = every_voxel(image.array.shape)
    measure = MutualInformation(image, image, points)
    whole = measure(points)[0]
    shift = np.float32([[15], [0], [0]])
    information, _, overlap = measure(points + shift)
    # the last of the points lies half a weight beyond
    assert overlap == pytest.approx(5 / 20, abs=1e-5)
    assert information < 0.3 * whole
    assert measure(points + 500)[0] == 0
    assert measure(points + 500)[2] == 0


def test_unseen_places_are_no_air() -> None:
    """The part of the fixed image that a mask, or the end of the moving one, hides adds nothing and takes nothing."""
    image = Image(texture(), np.eye(4))
    mask = np.zeros(image.array.shape, np.float32)
    mask[:10] = 1
    points = every_voxel(image.array.shape)
    half = points[:, points[0] < 10]
    expected = MutualInformation(image, image, half)(half)[0]
    hidden = MutualInformation(image, image._replace(mask=mask), points)(points)
    assert hidden[2] == pytest.approx(0.5)
    assert hidden[0] == pytest.approx(expected / 2, rel=1e-4)
    cut = MutualInformation(image, Image(image.array[:10], np.eye(4)), points)(points)
    assert cut[0] == pytest.approx(expected / 2, rel=1e-4)
    own = MutualInformation(image._replace(mask=mask), image, points)(points)  # nothing is asked of it there
    assert own[0] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("masked", [False, True])
def test_derivative_is_that_of_the_value(masked: bool) -> None:
    """Of a shift, some points beyond the moving image: also of what the overlap loses."""
    fixed, moving = Image(texture(), np.eye(4)), Image(texture(seed=0), np.diag([1.5, 1.2, 0.8, 1.0]))
    if masked:
        moving = moving._replace(mask=texture(seed=2))
    points = np.random.default_rng(0).uniform(-0.4, 17, (3, 3000)).astype(np.float32)
    measure = MutualInformation(fixed, moving, points)
    slope = measure(points)[1].sum(1, dtype=np.float64)
    for axis in range(3):
        step = np.zeros((3, 1), np.float32)
        step[axis] = 0.02
        difference = (measure(points + step)[0] - measure(points - step)[0]) / 0.04
        assert slope[axis] == pytest.approx(difference, rel=0.05, abs=4e-4)
