"""``morphseek jacobian`` on files."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from morphseek_monai.apps.main import main
from morphseek_monai.registration.folder import read_grid, read_registration
from morphseek_monai.spatial.files.transform_file import write_transform
from morphseek_monai.spatial.transform import linear_of, make_transform, members


def run(folder: Path, out: Path, *options: str) -> np.ndarray:
    given = ["--transform", str(folder / "transform.h5"), "--grid", str(folder / "fixed.nii.gz"), "--out", str(out)]
    main(["jacobian", *given, *options])
    return nib.load(out).get_fdata()


def test_total_deformable_and_log(registered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    total = run(registered, tmp_path / "t.nii.gz")
    assert "folded: 0 of 7040 voxels (0 %)" in capsys.readouterr().out
    deformable = run(registered, tmp_path / "d.nii.gz", "--of", "deformable")
    transform = read_registration(registered).transform_from("fixed")
    determinant = np.linalg.det(linear_of(members(transform)[0])[:3, :3])
    assert abs(determinant - 1) > 0.01
    assert np.allclose(total, deformable * determinant, rtol=1e-4) and np.ptp(deformable) > 0.2
    assert np.allclose(run(registered, tmp_path / "l.nii.gz", "--log"), np.log(total), atol=1e-5)
    assert nib.load(tmp_path / "t.nii.gz").get_data_dtype() == np.float32
    assert np.allclose(nib.load(tmp_path / "t.nii.gz").affine, nib.load(registered / "fixed.nii.gz").affine, atol=1e-5)


def test_folds_are_counted_and_have_no_logarithm(
    registered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = read_grid(registered / "fixed.nii.gz")
    fold = torch.zeros(1, 3, *grid.size)
    fold[0, 0, 10] = -3  # slope -1.5 before the plane
    write_transform(tmp_path / "f.h5", make_transform(np.eye(4), fold, grid))
    options = ["--transform", str(tmp_path / "f.h5"), "--grid", str(registered / "fixed.nii.gz")]
    main(["jacobian", *options, "--out", str(tmp_path / "l.nii.gz"), "--log"])
    assert "folded: 352 of 7040 voxels (5 %), NaN in the map" in capsys.readouterr().out
    log = nib.load(tmp_path / "l.nii.gz").get_fdata()
    assert np.isnan(log[9]).all() and np.isfinite(np.delete(log, 9, axis=0)).all()


def test_a_grid_larger_than_the_field_is_remarked_on(
    registered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fixed = nib.load(registered / "fixed.nii.gz")
    larger = nib.Nifti1Image(np.pad(np.asarray(fixed.dataobj), ((0, 4), (0, 0), (0, 0))), fixed.affine)
    nib.save(larger, tmp_path / "larger.nii.gz")
    options = ["--transform", str(registered / "transform.h5"), "--grid", str(tmp_path / "larger.nii.gz")]
    main(["jacobian", *options, "--out", str(tmp_path / "j.nii.gz")])
    assert "does not cover 16.7 % of" in capsys.readouterr().out


def test_wrong_options_end_with_2(registered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run(registered, tmp_path / "j.nii.gz", "--of", "affine")
    assert stop.value.code == 2 and "--of must be total or deformable" in capsys.readouterr().err
