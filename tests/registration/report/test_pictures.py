"""Values become colours, colours become a PNG."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from morphseek_monai.registration.report.pictures import (
    DIFFERENCE,
    GREY,
    JACOBIAN,
    LARGEST_SIDE,
    data_uri,
    fit,
    largest,
    levels,
    window,
)


@pytest.mark.parametrize("palette", [GREY, DIFFERENCE, JACOBIAN])
def test_picture_survives_the_page(palette: np.ndarray) -> None:
    indices = np.random.default_rng(0).integers(0, 256, (5, 7), dtype=np.uint8)
    kind, content = data_uri(indices, palette).split(",")
    assert kind == "data:image/png;base64"
    image = Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB")
    np.testing.assert_array_equal(np.asarray(image), palette[indices])


def test_palettes_say_what_their_captions_say() -> None:
    assert GREY[[0, 255]].tolist() == [[0, 0, 0], [255, 255, 255]]
    assert DIFFERENCE[127:129].max() < 5
    (r0, _, b0), (r1, _, b1) = JACOBIAN[1].astype(int), JACOBIAN[255].astype(int)
    assert b0 > r0 and r1 > b1 and JACOBIAN[0].max() == 0 and np.ptp(JACOBIAN[128].astype(int)) < 5


def test_levels_are_linear_and_clip() -> None:
    picture = np.array([[-1.0, 0.0, 0.5, 1.0, 2.0]])
    assert levels(picture, 0, 1).tolist() == [[0, 0, 128, 255, 255]]
    assert levels(picture, 0, 1, first=1).tolist() == [[1, 1, 128, 255, 255]]
    assert levels(np.array([[np.nan, np.inf, -np.inf]]), 0, 1).tolist() == [[0, 0, 0]]


def test_window_ignores_outliers_and_what_is_not_finite() -> None:
    volume = np.random.default_rng(0).normal(100, 10, (30, 30, 30))
    volume[0, 0, :3] = 1e9, np.nan, -np.inf
    low, high = window(volume)
    assert 60 < low < 80 < 120 < high < 140
    assert window(np.full((3, 3, 3), np.nan)) == (0.0, 1.0)


def test_window_of_mostly_background() -> None:
    volume = np.zeros((20, 20, 20))
    volume[0, 0, 0] = 9.0
    assert window(volume) == (0.0, 9.0)


@pytest.mark.parametrize(("value", "end"), [(7.234, 7.3), (0.0412, 0.042), (120.0, 120.0), (0.0, 1.0), (-3.0, 1.0)])
def test_upper_end_of_a_bar(value: float, end: float) -> None:
    assert largest(np.full((4, 4), value)) == pytest.approx(end)


def test_only_large_pictures_shrink() -> None:
    small = np.zeros((LARGEST_SIDE, 8), np.uint8)
    assert fit(small) is small
    stripes = np.tile(np.array([0, 200], np.uint8), (6, LARGEST_SIDE))
    assert fit(stripes).shape == (6, LARGEST_SIDE)
    assert (fit(stripes) == 100).all()  # averaged, not every second taken
