from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from morphseek_monai.data.scans.kind import MOST_LOOKED_AT, kind_of, whole_ids

RNG = np.random.default_rng(0)


def is_label_map(array: NDArray[np.generic]) -> bool:
    return kind_of(array).name == "label"


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


def parcels(count: int, size: tuple[int, int, int]) -> NDArray[np.int32]:
    """Cells of random seeds, numbered at random, in a rim of background."""
    seeds = RNG.uniform(0, 1, (count, 3)) * size
    places = np.indices(size).reshape(3, -1).T
    cells = (cKDTree(seeds).query(places)[1] + 1).reshape(size).astype(np.int32)
    cells[[0, -1]] = 0
    return cells


@pytest.mark.parametrize("count", [257, 360, 602, 1000])
def test_a_label_map_may_have_any_number_of_ids(count: int) -> None:
    cells = parcels(count, (60, 60, 60))
    assert len(np.unique(cells)) > 256
    assert is_label_map(cells) and is_label_map(cells.astype(np.float32) * np.float32(0.99998 + 2e-5))


def test_negative_ids_and_slices_that_are_thick_along_any_axis() -> None:
    cells = parcels(40, (48, 48, 48))
    assert is_label_map(np.where(cells == 7, -1, cells)) and is_label_map(cells - 1)
    for axis in range(3):
        thick = np.take(cells, range(0, 48, 12), axis)
        assert min(thick.shape) == 4 and is_label_map(thick)


def test_what_is_doubtful_is_neither() -> None:
    """Label maps in voxels as coarse as the regions, and images of few grey levels."""
    coarse = parcels(1000, (20, 20, 20))
    assert kind_of(coarse).name == "doubtful"
    assert kind_of(smooth_image(np.uint8, top=14)).name == "doubtful"
    assert "may be ids of regions or grey values" in kind_of(coarse).reason


@pytest.mark.parametrize("name", ["s_dseg.nii.gz", "a/aseg.mgz", "lesion_mask.nii", "labelsTr/x.nii", "a.seg.nrrd"])
def test_a_name_decides_over_whole_numbers(name: str) -> None:
    coarse = parcels(1000, (20, 20, 20))
    assert kind_of(coarse, name).name == "label"
    assert kind_of(coarse + 0.3, name).name == "image"


@pytest.mark.parametrize("name", ["sub-1_label-GM_probseg.nii.gz", "unmasked.nii", "T1w.nii.gz", "segments/x.nii"])
def test_a_name_that_says_nothing(name: str) -> None:
    assert kind_of(parcels(1000, (20, 20, 20)), name).name == "doubtful"


def test_the_intent_of_the_header_and_a_table_beside_the_file(tmp_path: Path) -> None:
    coarse = parcels(1000, (20, 20, 20))
    header = nib.Nifti1Header()
    header.set_intent("label")
    assert kind_of(coarse, "", header).name == "label" and kind_of(coarse + 0.3, "", header).name == "doubtful"
    header.set_intent("t test", (12,))
    assert kind_of(regions([0, 1, 2]), "", header).name == "image"
    (tmp_path / "atlas.tsv").write_text("index\tname\tcolor\n1\tLeft\t#fff\n")
    assert kind_of(coarse, str(tmp_path / "atlas.nii.gz")).reason == "the table of labels beside it"
    (tmp_path / "atlas.tsv").write_text("x\ty\n")
    assert kind_of(coarse, str(tmp_path / "atlas.nii.gz")).name == "doubtful"


@pytest.mark.parametrize("slope", [0.99998, 1.00001])
def test_ids_stored_with_a_slope_are_whole(slope: float) -> None:
    ids = np.array([0, 1, 2, 41, -1])
    stored = ids.astype(np.float32) * np.float32(slope)
    assert (stored != ids).any()
    found = whole_ids(stored)
    assert found is not None and found.moved == np.abs(stored - ids).max()
    np.testing.assert_array_equal(found.array, ids)


def test_small_numbers_are_no_ids() -> None:
    """A diffusivity in m2/s lies within a thousandth of 0."""
    assert whole_ids(np.array([0, 7e-10, 3e-9])) is None
    assert kind_of(smooth_image(np.float32) * 1e-9).name == "image"
    assert whole_ids(np.array([0.0, 1.002])) is None


def test_fractions_are_no_ids() -> None:
    assert not is_label_map(regions([0, 1, 2]) * 0.5)


def test_one_broken_value_in_a_large_array_is_found_though_only_a_sample_is_counted() -> None:
    array = np.zeros((8, 512, 512), np.float32)
    assert array.size > 2 * MOST_LOOKED_AT
    array[2:6, 100:300, 100:300] = 3
    assert is_label_map(array)
    array[3, 101, 101] = 2.5
    assert not is_label_map(array)
