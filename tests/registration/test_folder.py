"""What the companions read of a registration's folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from morphseek_monai.base.errors import DataError
from morphseek_monai.registration.folder import read_grid, read_registration


def test_the_grids_are_those_of_the_images(registered: Path) -> None:
    result = read_registration(registered)
    assert result.grid("fixed").same_as(read_grid(registered / "fixed.nii.gz"))
    assert result.grid("moving").same_as(read_grid(registered / "moving.nii.gz"))
    assert not result.fixed.same_as(result.moving)


def test_the_images_need_not_be_there(registered: Path, tmp_path: Path) -> None:
    for name in ("result.json", "transform.h5", "inverse.h5"):
        shutil.copy(registered / name, tmp_path)
    result = read_registration(tmp_path)
    point = [10.0, 20.0, 30.0]
    there = result.transform_from("fixed").TransformPoint(point)
    assert np.abs(np.subtract(there, point)).max() > 1
    assert np.allclose(result.transform_from("moving").TransformPoint(there), point, atol=0.2)


def test_no_registration_is_told(registered: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere is no folder; give the one that morphseek register wrote"):
        read_registration(tmp_path / "nowhere")
    with pytest.raises(DataError, match="result .*result.json does not exist"):
        read_registration(tmp_path)
    shutil.copy(registered / "result.json", tmp_path)
    with pytest.raises(DataError, match="transform .*inverse.h5 does not exist"):
        read_registration(tmp_path).transform_from("moving")


@pytest.mark.parametrize("text", ["{", "[]", "{}", json.dumps({"fixed": {"size": [1, 2], "affine": []}})])
def test_a_broken_record_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(DataError, match="does not tell the grids of the two images .*; register again"):
        read_registration(tmp_path)


def test_a_flat_reference_is_refused(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((8, 9, 1), np.uint8), np.eye(4)), tmp_path / "flat.nii")
    with pytest.raises(DataError, match="grid .*flat.nii must have at least 2 voxels per axis"):
        read_grid(tmp_path / "flat.nii")
