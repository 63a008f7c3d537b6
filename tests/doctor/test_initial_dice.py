from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.transforms import Compose, LoadImaged, Resized

from morphseek_monai.data.scans.stored import write_nifti
from morphseek_monai.doctor import initial_dice
from morphseek_monai.doctor.initial_dice import PairDice, PreparedPair, judge_dice, native_dice, prepare, prepared_dice


def entry(path: Path, label: Any, affine: Any = None) -> dict[str, str]:
    label = np.asarray(label)
    noise = np.random.default_rng(0).normal(size=label.shape).astype(np.float32)
    grid = np.eye(4) if affine is None else affine
    write_nifti(path.with_name(f"{path.name}_image.nii"), noise, grid)
    write_nifti(path.with_name(f"{path.name}_label.nii"), label, grid)
    return {"image": f"{path}_image.nii", "label": f"{path}_label.nii", "id": path.name}


def blocks(shape: tuple[int, int, int], start: int = 4) -> Any:
    label = np.zeros(shape, np.uint8)
    label[start : start + 4, 4:8, 4:8] = 1
    label[start : start + 4, 8:12, 4:8] = 3
    return label


def test_maps_of_one_shape_are_compared_voxel_by_voxel(tmp_path: Path) -> None:
    # half of each block overlaps; other headers do not matter, since the network does not see them
    fixed = entry(tmp_path / "f", blocks((16, 16, 16)))
    moving = entry(tmp_path / "m", blocks((16, 16, 16), 6), np.diag([2.0, 2, 2, 1]))
    pair = native_dice({"fixed": fixed, "moving": moving}, 5)
    assert pair is not None and (pair.fixed, pair.moving, pair.how) == ("f", "m", "voxel by voxel")
    assert pair.dice == pytest.approx((0.5, np.nan, 0.5, np.nan), nan_ok=True) and pair.mean == 0.5


def test_maps_of_other_shape_are_placed_by_their_headers_as_itk_does(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    angle = 0.2
    affine = np.array(
        [
            [1.3 * np.cos(angle), -1.1 * np.sin(angle), 0, 3],
            [1.3 * np.sin(angle), 1.1 * np.cos(angle), 0, -2],
            [0, 0, 0.9, 1.5],
            [0, 0, 0, 1],
        ]
    )
    coarse = rng.integers(0, 4, (5, 6, 7)).repeat(3, 0).repeat(3, 1).repeat(3, 2).astype(np.uint8)
    fixed, moving = entry(tmp_path / "f", coarse[:14, :13, :15]), entry(tmp_path / "m", coarse, affine)
    pair = native_dice({"fixed": fixed, "moving": moving}, 4)
    assert pair is not None and pair.how == "placed by the headers"
    first, second = (sitk.ReadImage(item["label"]) for item in (fixed, moving))
    there = sitk.GetArrayFromImage(sitk.Resample(second, first, sitk.Transform(), sitk.sitkNearestNeighbor))
    here = sitk.GetArrayFromImage(first)
    expected = [2 * ((here == k) & (there == k)).sum() / ((here == k).sum() + (there == k).sum()) for k in (1, 2, 3)]
    assert pair.dice == pytest.approx(expected, abs=0.01) and min(expected) > 0.05


def test_large_maps_are_counted_on_a_part_of_their_voxels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initial_dice, "_MOST_VOXELS", 1000)
    label = np.zeros((32, 32, 32), np.uint8)
    label[8:24, 8:24, 8:24] = 1
    fixed, moving = entry(tmp_path / "f", label), entry(tmp_path / "m", label[:, :, :28])
    pair = native_dice({"fixed": fixed, "moving": moving}, 2)
    assert pair is not None and pair.dice == (1.0,) and pair.how == "placed by the headers, every 4. voxel"


@pytest.mark.parametrize("label", [np.full((4, 4, 4), 0.5, np.float32), np.full((4, 4, 4), np.nan, np.float32)])
def test_unusable_maps_give_no_dice(label: Any, tmp_path: Path) -> None:
    good, bad = entry(tmp_path / "g", np.ones((4, 4, 4), np.uint8)), entry(tmp_path / "b", label)
    assert native_dice({"fixed": good, "moving": bad}, 2) is None
    assert native_dice({"fixed": {"image": "x.nii"}, "moving": good}, 2) is None


def test_foreign_ids_do_not_stop_the_others(tmp_path: Path) -> None:
    label = blocks((16, 16, 16)).astype(np.int16)
    label[0, 0, 0], label[1, 1, 1] = 99, -5
    subject = entry(tmp_path / "a", label)
    pair = native_dice({"fixed": subject, "moving": subject}, 4)
    assert pair is not None and pair.mean == 1


def test_prepared_subjects(tmp_path: Path) -> None:
    transform = Compose(
        [
            LoadImaged(["image", "label"], ensure_channel_first=True),
            Resized(["image", "label"], spatial_size=(8, 8, 8), mode="nearest"),
        ]
    )
    subjects = [entry(tmp_path / "a", blocks((16, 16, 16))), entry(tmp_path / "b", blocks((16, 16, 24)))]
    prepared = {subject["id"]: prepare(subject, transform) for subject in subjects}
    assert {item.shape for item in prepared.values()} == {(8, 8, 8)}
    pair = prepared_dice({"fixed": subjects[0], "moving": subjects[0]}, prepared, 4)
    assert pair is not None and pair.mean == 1 and "preprocessing" in pair.how
    prepared["b"] = PreparedPair((8, 8, 9), torch.zeros(1, 1, 8, 8, 9, dtype=torch.uint8))
    assert prepared_dice({"fixed": subjects[0], "moving": subjects[1]}, prepared, 4) is None
    assert prepared_dice({"fixed": subjects[0], "moving": {"image": "none.nii"}}, prepared, 4) is None


@pytest.mark.parametrize(
    ("dice", "level", "words"),
    [
        ((np.nan,), "WARN", "no label in common"),
        ((0.05, np.nan), "WARN", "hardly overlap"),
        ((1.0, 0.995), "WARN", "agree already"),
        ((0.5, 0.9), "OK", "mean Dice 0.700"),
    ],
)
def test_judgement(dice: tuple[float, ...], level: str, words: str) -> None:
    (finding,) = judge_dice([PairDice("f", "m", dice, "voxel by voxel")])
    assert finding.level == level and words in finding.what
    assert judge_dice([]) == []
