"""The crop to the body, alone and in the preprocessing of the liver bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.transforms import CropForegroundd

from morphseek_monai.data import DataError, PairDataset, lits_training_subjects, lits_validation_pairs, write_phantom
from morphseek_monai.transforms import body_mask

SIZE = [24, 28, 20]
CONFIG = Path(__file__).resolve().parents[2] / "bundles" / "morphseek_liver_ct_lits" / "configs" / "inference.json"


def parse(**overrides: Any) -> Any:
    """The preprocessing of the liver bundle."""
    parser = ConfigParser()
    parser.read_config(CONFIG)
    parser.update({"spatial_size": SIZE, **overrides})
    return parser.get_parsed_content("preprocessing")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("liver")
    write_phantom(root, "liver", subjects=5, shape=(40, 40, 32))
    return root


@pytest.fixture(scope="module")
def preprocess() -> Any:
    return parse()


def everybody(folder: Path) -> list[dict[str, str]]:
    return [*lits_training_subjects(folder), *(pair["fixed"] for pair in lits_validation_pairs(folder))]


def world(affine: Any, where: np.ndarray) -> np.ndarray:
    return np.asarray(nib.affines.apply_affine(np.asarray(affine), where))


def test_every_patient_comes_out_on_one_grid_with_its_labels(folder: Path, preprocess: Any) -> None:
    for subject in everybody(folder):
        ids = set(np.unique(np.asarray(nib.load(subject["label"]).dataobj)))
        result = preprocess({key: subject[key] for key in ("image", "label")})
        assert result["image"].shape == result["label"].shape == (1, *SIZE)
        assert set(result["label"].unique().int().tolist()) == ids
        assert result["image"].amin() == 0 and 0.9 < result["image"].amax() <= 1
        assert nib.aff2axcodes(result["image"].affine.numpy()) == ("R", "A", "S")
        torch.testing.assert_close(result["image"].affine, result["label"].affine)


def test_a_landmark_stays_where_it_is_in_the_scanner(folder: Path, preprocess: Any) -> None:
    """Centres of mass and labels by position, native file against prepared array."""
    for subject in everybody(folder):
        native = nib.load(subject["label"])
        before = np.asarray(native.dataobj)
        result = preprocess({key: subject[key] for key in ("image", "label")})
        after = np.asarray(result["label"])[0]
        voxel = nib.affines.voxel_sizes(result["label"].affine.numpy())
        for index in np.unique(before)[1:]:
            was = world(native.affine, np.argwhere(before == index)).mean(0)
            now = world(result["label"].affine, np.argwhere(after == index)).mean(0)
            assert np.all(np.abs(now - was) < voxel), subject["id"]
        liver = np.argwhere(before == 1)
        place = world(np.linalg.inv(result["label"].affine.numpy()), world(native.affine, liver))
        found = after[tuple(np.round(place).astype(int).clip(0, np.array(SIZE) - 1).T)]
        assert np.mean(found > 0) > 0.8


def test_the_body_fills_the_crop_and_the_table_is_outside(folder: Path) -> None:
    for subject in everybody(folder):
        image = nib.load(subject["image"])
        hu = torch.from_numpy(np.asarray(nib.as_closest_canonical(image).dataobj).astype(np.float32))[None]
        crop = CropForegroundd("image", "image", select_fn=body_mask, allow_smaller=True)
        body = body_mask(crop({"image": hu})["image"])
        for axis in (1, 2, 3):
            assert body.select(axis, 0).any() and body.select(axis, -1).any()
        naive = CropForegroundd("image", "image", select_fn=lambda x: x > -500, allow_smaller=True)
        assert naive({"image": hu})["image"].shape[2] > body.shape[2] + 3  # up to the table, beyond the back


def test_crop_to_the_liver_instead(folder: Path) -> None:
    """The alternative of docs/own_data.md: other transforms as above."""
    crop = """{"_target_": "CropForegroundd", "keys": ["image", "label"], "source_key": "label", "margin": 2,
               "allow_smaller": true}"""
    preprocess = parse(crop=json.loads(crop))
    for subject in lits_training_subjects(folder):
        label = preprocess({key: subject[key] for key in ("image", "label")})["label"]
        assert label.shape == (1, *SIZE) and (label > 0).float().mean() > 0.15


def test_preprocessing_without_a_label(folder: Path, preprocess: Any) -> None:
    assert preprocess({"image": lits_training_subjects(folder)[0]["image"]})["image"].shape == (1, *SIZE)


def test_pairs_of_patients_for_a_network(folder: Path, preprocess: Any) -> None:
    pair = PairDataset(lits_validation_pairs(folder), preprocess)[0]
    assert pair["image"].shape == pair["label"].shape == (2, *SIZE)
    assert not torch.allclose(pair["affine"], pair["moving_affine"])
    fixed, moving = pair["label"] > 0
    assert 2 * (fixed & moving).sum() / (fixed.sum() + moving.sum()) > 0.4  # a start that a network can learn from


def test_largest_component_wins_and_holes_do_not_matter() -> None:
    image = torch.full((1, 10, 10, 10), -1000.0)
    image[:, 1:7, 1:7, 1:7] = 40.0
    image[:, 3:5, 3:5, 3:5] = -800.0  # lung
    image[:, 8:, 8:, 8:] = 1000.0  # small and dense
    mask = body_mask(image)
    assert mask.shape == image.shape and mask.dtype == torch.bool
    assert int(mask.sum()) == 6**3 - 2**3 and not mask[:, 8:].any()
    assert int(body_mask(image, threshold=500.0).sum()) == 8


def test_what_is_no_ct_is_refused() -> None:
    with pytest.raises(DataError, match="image array has no voxel above -500 HU; give a CT in Hounsfield units"):
        body_mask(torch.full((1, 4, 4, 4), -1000.0))
