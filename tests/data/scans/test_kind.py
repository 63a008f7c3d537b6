from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from morphseek_monai.data.scans.kind import SAMPLE, is_label_map

RNG = np.random.default_rng(0)


def regions(ids: list[int], size: int = 24, dtype: type = np.uint8) -> NDArray[np.generic]:
    """Boxes of six voxels, whose ids go round, within a rim of background."""
    boxes = np.array(ids)[(np.indices((size, size, size)) // 6).sum(0) % len(ids)]
    boxes[[0, -1]] = 0
    return boxes.astype(dtype)


def smooth_image(dtype: type, top: float = 255) -> NDArray[np.generic]:
    """A body in air: smooth contrast, noise of two percent, quantised."""
    contrast = gaussian_filter(RNG.normal(size=(24, 24, 24)), 2)
    values = (contrast - contrast.min()) / np.ptp(contrast) * 0.9 + RNG.normal(0, 0.02, contrast.shape)
    values[:4] = 0
    return np.round(np.clip(values, 0, 1) * top).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("ids", [[0, 1], [0, 1, 2, 3, 17, 41], list(range(36))])
def test_label_maps_of_any_type(dtype: type, ids: list[int]) -> None:
    assert is_label_map(regions(ids, dtype=dtype))


def test_ids_may_be_large() -> None:
    assert is_label_map(regions([0, 2, 1035, 2035], dtype=np.int32))


def test_masks_even_empty_or_of_single_voxels() -> None:
    mask = np.zeros((16, 16, 16), np.uint8)
    assert is_label_map(mask)
    mask[4, 4, 4] = mask[9, 9, 9] = 255  # landmarks: no two neighbours
    assert is_label_map(mask)
    mask[5:12, 5:12, 5:12] = 255
    assert is_label_map(mask)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_an_image_of_whole_numbers_is_no_label_map(dtype: type) -> None:
    image = smooth_image(dtype)
    assert len(np.unique(image)) <= 256
    assert not is_label_map(image)
    assert not is_label_map(smooth_image(dtype, top=30))


def test_noise_and_a_saturated_window_are_no_label_maps() -> None:
    assert not is_label_map(RNG.integers(0, 256, (16, 16, 16)).astype(np.uint8))
    assert not is_label_map(RNG.integers(1, 4, (16, 16, 16)).astype(np.uint8))
    window = np.clip(smooth_image(np.int16).astype(int) * 3 - 100, 0, 255)
    assert (window == 255).mean() > 0.3  # most neighbours are equal, most grey values are not
    assert not is_label_map(window.astype(np.uint8))


def test_negative_broken_and_too_many_values_are_no_labels() -> None:
    assert not is_label_map(regions([0, 1, 2], dtype=np.int16) - 1)
    assert not is_label_map(regions([0, 1, 2]) * 0.5)
    assert not is_label_map(np.repeat(np.arange(300), 24).reshape(20, 18, 20))
    assert not is_label_map(np.full((8, 8, 8), np.nan))


def test_one_broken_value_in_a_large_array_is_found_though_only_a_sample_is_counted() -> None:
    array = np.zeros((8, 512, 512), np.float32)
    assert array.size > 2 * SAMPLE
    array[2:6, 100:300, 100:300] = 3
    assert is_label_map(array)
    array[3, 101, 101] = 2.5
    assert not is_label_map(array)
