"""What stands in for the part of an image that does not count."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from morphseek_monai.registration.prepare.mask import continued, foreground_of
from morphseek_monai.space.image import Image, orient


def ramp(size: tuple[int, int, int] = (17, 20, 23)) -> Any:
    return (np.indices(size).sum(0) / sum(size)).astype(np.float32)


def masked(array: Any, part: Any) -> Image:
    mask = np.ones(array.shape, np.float32)
    mask[part] = 0
    return Image(array, np.eye(4), mask)


@pytest.mark.parametrize("part", [np.s_[5:9, 5:9, 5:9], np.s_[:, 10:], np.s_[1:], np.s_[::2]])
def test_nothing_of_what_was_there_is_left_and_the_rest_is_kept(part: Any) -> None:
    clean, other = ramp(), ramp()
    other[part] = 9.0
    found = [continued(masked(array, part)).array for array in (clean, other)]
    np.testing.assert_array_equal(found[0], found[1])
    kept = masked(clean, part).mask == 1
    np.testing.assert_array_equal(found[0][kept], clean[kept])
    assert clean[kept].min() <= found[0].min() and found[0].max() <= clean[kept].max()


def test_a_hole_is_filled_by_what_is_around_it() -> None:
    part = np.s_[6:10, 8:12, 9:13]
    found = continued(masked(ramp(), part)).array
    assert np.abs(found - ramp())[part].max() < 3 / sum(ramp().shape)  # three voxels up the slope, of four


def test_no_mask_no_change() -> None:
    image = Image(ramp(), np.eye(4))
    assert continued(image) is image


def test_foreground_that_does_not_count_is_none() -> None:
    image = masked(np.full((8, 8, 8), 0.5, np.float32), np.s_[:4])
    assert foreground_of(image).sum() == 256 and foreground_of(image._replace(mask=None)).all()
    assert not foreground_of(image, 0.6).any()


def test_a_mask_is_turned_with_its_image() -> None:
    array = np.arange(3 * 4 * 5).reshape(3, 4, 5)
    affine = np.diag([-1.0, 1, 1, 1])[[1, 0, 2, 3]]
    image = orient(array, affine, "RAS", array % 7 > 2)
    assert image.mask is not None
    np.testing.assert_array_equal(image.mask, image.array % 7 > 2)
