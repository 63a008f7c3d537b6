from __future__ import annotations

import pytest
import torch

from morphseek_monai.data import DataError
from morphseek_monai.data.pairs.requirements import binary_mask, check_image, check_same_grid, integer_label


def test_sound_image_passes() -> None:
    check_image(torch.rand(1, 3, 4, 5), "a.nii.gz")


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (torch.rand(120, 4, 4, 4), r"must be one 3-D volume .* got \(120, 4, 4, 4\)"),
        (torch.rand(1, 4, 4), r"must be one 3-D volume .* got \(1, 4, 4\)"),
        (torch.rand(1, 4, 1, 4), "at least 2 voxels along each axis"),
        (
            torch.tensor([float("nan"), 1, float("inf"), 0, 0, 0, 0, 0]).view(1, 2, 2, 2),
            "has 2 NaN or infinite",
        ),
        (torch.full((1, 2, 2, 2), 7.0), r"is constant \(7 everywhere\)"),
    ],
)
def test_unsound_image_is_named(image: torch.Tensor, reason: str) -> None:
    with pytest.raises(DataError, match=f"^image a.nii.gz .*{reason}"):
        check_image(image, "a.nii.gz")


@pytest.mark.parametrize(
    ("value", "dtype"), [(255, torch.uint8), (256, torch.int16), (32767, torch.int16), (32768, torch.int32)]
)
@pytest.mark.parametrize("source", [torch.float32, torch.float64, torch.int64])
def test_label_gets_the_smallest_dtype(value: int, dtype: torch.dtype, source: torch.dtype) -> None:
    label = integer_label(torch.tensor([0, value]).to(source).view(1, 1, 1, 2), "s.nii.gz")
    assert label.dtype == dtype
    assert label.flatten().tolist() == [0, value]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([0.0, 1.5], r"must hold whole numbers, got 1\.5; resample"),
        ([0.0, float("nan")], "must hold whole numbers, got nan"),
        ([0.0, -1.0], r"has id -1 outside 0\.\.3; map its ids with SelectLabelsd"),
        ([0.0, 4.0], r"has id 4 outside 0\.\.3"),
        ([0.0, float("inf")], r"has id inf outside"),
    ],
)
def test_unsound_label_is_named(values: list[float], reason: str) -> None:
    with pytest.raises(DataError, match=f"^label s.nii.gz {reason}"):
        integer_label(torch.tensor(values).view(1, 1, 1, 2), "s.nii.gz", num_labels=4)


def test_highest_id_is_below_num_labels() -> None:
    assert int(integer_label(torch.tensor([0, 3]).view(1, 1, 1, 2), "s.nii.gz", num_labels=4).max()) == 3


def test_one_hot_label_is_refused() -> None:
    with pytest.raises(DataError, match="turn one-hot channels into ids"):
        integer_label(torch.zeros(4, 2, 2, 2), "s.nii.gz")


def test_label_of_another_shape_is_refused() -> None:
    with pytest.raises(DataError, match=r"label s has shape \(2, 2, 3\) but image a has \(2, 2, 2\)"):
        check_same_grid(torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, 3), "a", "s")


@pytest.mark.parametrize("inside", [1, 255, 0.5, True])
def test_mask_becomes_zero_and_one(inside: float) -> None:
    mask = torch.zeros(1, 2, 2, 2, dtype=torch.tensor(inside).dtype)
    mask[0, 1] = inside
    result = binary_mask(mask, "m.nii.gz")
    assert result.dtype == torch.uint8
    assert result.flatten().tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([0.0, 0.0], r"mask m\.nii\.gz is empty \(0 everywhere\); draw it"),
        ([0.0, 0.5, 1.0], r"mask m\.nii\.gz must hold 0 and one positive value, got 0\.5 to 1 inside"),
        ([1.0, 2.0], "got 1 to 2 inside; .* make one mask of a label map"),
        ([0.0, -1.0], "got -1 to -1 inside"),
        ([1.0, float("nan")], "got nan to nan inside"),
    ],
)
def test_masks_that_are_none(values: list[float], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        binary_mask(torch.tensor(values).view(1, 1, 1, -1), "m.nii.gz")


def test_mask_of_several_channels() -> None:
    with pytest.raises(DataError, match=r"mask m must be one 3-D volume .* got \(2, 3, 3, 3\)"):
        binary_mask(torch.ones(2, 3, 3, 3), "m")


def test_same_grid_names_the_role() -> None:
    with pytest.raises(DataError, match=r"^mask m has shape \(2, 2, 3\) but image i .* resample the mask"):
        check_same_grid(torch.rand(1, 2, 2, 2), torch.ones(1, 2, 2, 3), "i", "m", "mask")
