"""Faults of files, as seen through a MONAI transform and through a data loader's worker."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import DataLoader
from monai.transforms import Compose, LoadImaged, ScaleIntensityd

from morphseek_monai.data import DataError, PairDataset
from morphseek_monai.data.pairs.loading import load_subject
from morphseek_monai.transforms import CheckSubjectd

SHAPE = (6, 5, 4)


def pipeline() -> Compose:
    return Compose(
        [
            LoadImaged(["image", "label"], ensure_channel_first=True, allow_missing_keys=True),
            CheckSubjectd("image", num_labels=4),
            ScaleIntensityd("image"),
        ]
    )


def truncate(path: str) -> None:
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[: len(content) // 2])


def with_voxel(value: float) -> np.ndarray:
    array = np.random.default_rng(0).uniform(0, 1, SHAPE).astype(np.float32)
    array[1, 2, 3] = value
    return array


FAULTS: dict[str, tuple[dict[str, Any], Callable[[dict[str, str]], Any] | None, str]] = {
    "truncated image": (
        {},
        lambda s: truncate(s["image"]),
        r"image .*x_image\.nii\.gz is truncated or damaged",
    ),
    "truncated label": (
        {},
        lambda s: truncate(s["label"]),
        r"label .*x_label\.nii\.gz is truncated or damaged",
    ),
    "zero bytes": (
        {},
        lambda s: Path(s["image"]).write_bytes(b""),
        r"image .*x_image\.nii\.gz is empty \(0 bytes\)",
    ),
    "text": (
        {},
        lambda s: Path(s["label"]).write_text("hello"),
        r"label .*x_label\.nii\.gz is not gzip-compressed",
    ),
    "removed": ({}, lambda s: Path(s["image"]).unlink(), r"image .*x_image\.nii\.gz does not exist"),
    "nan": ({"image": with_voxel(np.nan)}, None, r"image .*x_image\.nii\.gz has 1 NaN or infinite"),
    "inf": ({"image": with_voxel(-np.inf)}, None, r"image .*x_image\.nii\.gz has 1 NaN or infinite"),
    "constant": ({"image": np.ones(SHAPE, np.float32)}, None, r"image .*x_image\.nii\.gz is constant \(1 "),
    "4-D": ({"image": np.random.rand(*SHAPE, 3)}, None, r"image .*x_image\.nii\.gz must be one 3-D volume"),
    "fraction": (
        {"label": with_voxel(0) * 0 + 0.5},
        None,
        r"label .*x_label\.nii\.gz must hold whole numbers",
    ),
    "high id": (
        {"label": np.full(SHAPE, 4, np.int16)},
        None,
        r"label .*x_label\.nii\.gz has id 4 outside 0\.\.3",
    ),
    "negative": (
        {"label": np.full(SHAPE, -2, np.int16)},
        None,
        r"label .*x_label\.nii\.gz has id -2 outside",
    ),
    "shapes": (
        {"label": np.zeros((6, 5, 5), np.uint8)},
        None,
        r"label .*x_label.* has shape \(6, 5, 5\) but image",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_one_line_with_the_file(
    fault: str, write_subject: Any, caplog: pytest.LogCaptureFixture
) -> None:
    arrays, damage, reason = FAULTS[fault]
    subject = write_subject("x", **arrays)
    if damage is not None:
        damage(subject)
    with caplog.at_level(logging.WARNING), pytest.raises(DataError, match=f"^{reason}") as caught:
        load_subject(subject, pipeline())
    assert "\n" not in str(caught.value) and "applying transform" not in str(caught.value)


def test_wrong_extension(write_subject: Any, tmp_path: Path) -> None:
    for name, source in (("scan.txt", "image"), ("scan.jpeg.nii", "image")):
        path = tmp_path / name
        path.write_bytes(Path(write_subject("x")[source]).read_bytes())
        with pytest.raises(
            DataError, match=f"^image .*{name} (is gzip-compressed although|.*cannot be prepared)"
        ):
            load_subject({"image": str(path)}, pipeline())


def test_worker_raises_the_same_line(write_subject: Any) -> None:
    subjects = [write_subject("x"), write_subject("y")]
    truncate(subjects[0]["image"])
    with pytest.raises(
        DataError, match=r"^image \S*x_image\.nii\.gz is truncated or damaged .*; copy it again$"
    ):
        next(iter(DataLoader(PairDataset(subjects, pipeline()), num_workers=1)))


def test_transform_that_insists_on_a_label(write_subject: Any) -> None:
    subject = {"image": write_subject("x")["image"]}
    with pytest.raises(DataError, match="set allow_missing_keys=True on the transforms with key 'label'"):
        load_subject(subject, Compose([LoadImaged(["image", "label"])]))


def test_unknown_failure_keeps_its_cause(write_subject: Any) -> None:
    def fail(item: Any) -> Any:
        raise ZeroDivisionError("by zero")

    with pytest.raises(
        DataError, match=r"image .*x_image.* cannot be prepared \(ZeroDivisionError: by zero\)"
    ) as caught:
        load_subject(write_subject("x"), Compose([fail]))
    assert caught.value.__cause__ is not None


def test_path_that_nobody_read(write_subject: Any) -> None:
    with pytest.raises(DataError, match="was not read; begin the dataset's transform with LoadImaged"):
        load_subject(write_subject("x"), None)


def test_subject_comes_out_as_plain_tensors(write_subject: Any) -> None:
    volume = load_subject(write_subject("x"), pipeline())
    assert type(volume.image) is torch.Tensor and type(volume.label) is torch.Tensor
    assert float(volume.image.min()) == 0 and float(volume.image.max()) == 1
    assert load_subject(write_subject("x"), pipeline(), with_label=False).label is None


def half() -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask[:3] = 1
    return mask


def masks() -> Compose:
    return Compose([LoadImaged(["image", "mask"], ensure_channel_first=True, allow_missing_keys=True)])


def test_mask_is_read_only_on_request(write_subject: Any) -> None:
    subject = write_subject("x", mask=255 * half())
    volume = load_subject(subject, masks(), with_label=False, with_mask=True)
    assert volume.mask is not None and type(volume.mask) is torch.Tensor
    assert np.array_equal(volume.mask[0].numpy(), half()) and volume.mask.dtype == torch.uint8
    Path(subject["mask"]).write_bytes(b"no image")
    assert load_subject(subject, masks(), with_label=False).mask is None


def test_no_mask_means_everywhere(write_subject: Any) -> None:
    subject = write_subject("x")
    del subject["label"]
    volume = load_subject(subject, masks(), with_mask=True)
    assert volume.mask is not None
    assert torch.equal(volume.mask, torch.ones(1, *SHAPE, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (np.zeros(SHAPE, np.uint8), r"mask \S*x_mask\.nii\.gz is empty"),
        (np.ones((6, 5, 5), np.uint8), r"mask \S*x_mask\.nii\.gz has shape \(6, 5, 5\) but image \S*x_image"),
        (with_voxel(0.5), r"mask \S*x_mask\.nii\.gz must hold 0 and one positive value"),
    ],
)
def test_bad_mask_is_one_line_with_the_file(mask: np.ndarray, reason: str, write_subject: Any) -> None:
    subject = write_subject("x", mask=mask)
    check = Compose([masks(), CheckSubjectd()])
    for transform in (masks(), check):  # before a Resized would hide another shape, and at the end
        with pytest.raises(DataError, match=f"^{reason}"):
            load_subject(subject, transform, with_label=False, with_mask=True)


@pytest.mark.parametrize("key", ["label", "mask"])
def test_file_that_nobody_read_is_named(key: str, write_subject: Any) -> None:
    subject = write_subject("x", mask=half())
    with pytest.raises(DataError, match=rf"^{key} \S*x_{key}\.nii\.gz was not read; .* LoadImaged on its key"):
        keys = [k for k in ("image", "label", "mask") if k != key]
        load_subject(subject, Compose([LoadImaged(keys, ensure_channel_first=True)]), with_mask=True)


def test_transform_that_insists_on_a_mask(write_subject: Any) -> None:
    with pytest.raises(DataError, match="set allow_missing_keys=True on the transforms with key 'mask'"):
        load_subject(write_subject("x"), Compose([LoadImaged(["image", "label", "mask"])]), with_mask=True)


def test_modality_reaches_the_transform_where_it_is_known(write_subject: Any) -> None:
    seen: list[Any] = []

    def look(item: dict[str, Any]) -> dict[str, Any]:
        seen.append(item.get("modality"))
        return item

    subject = write_subject("x")
    for extra in ({}, {"modality": ""}, {"id": "T_0001_0001"}, {"id": "T_0001_0001", "modality": "0000"}):
        load_subject({**subject, **extra}, Compose([look, *pipeline().transforms]))
    assert seen == [None, None, "0001", "0000"]
