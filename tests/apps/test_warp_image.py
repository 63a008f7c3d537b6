"""``morphseek warp-image`` on files."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from morphseek_monai.apps.main import main


def run(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    main(["warp-image", *options])
    return capsys.readouterr().out


def test_labels_go_to_the_fixed_grid_by_nearest(
    registered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "label.nii.gz"
    printed = run(
        capsys, "--image", str(registered / "moving_label.nii.gz"), "--registration", str(registered), "--out", str(out)
    )
    assert "nearest interpolation" in printed and "moving_label.nii.gz is a label map: its name" in printed
    assert "on the fixed image's grid" in printed and "20 x 22 x 16" in printed
    warped, fixed = nib.load(out), nib.load(registered / "fixed_label.nii.gz")
    assert warped.get_data_dtype() == np.uint8 and np.allclose(warped.affine, fixed.affine, atol=1e-5)
    images = [sitk.ReadImage(str(registered / f"{name}_label.nii.gz")) for name in ("moving", "fixed")]
    transform = sitk.ReadTransform(str(registered / "transform.h5"))
    expected = sitk.GetArrayFromImage(sitk.Resample(*images, transform, sitk.sitkNearestNeighbor)).transpose(2, 1, 0)
    assert (np.asarray(warped.dataobj) == expected).mean() > 0.999


def test_to_moving_goes_back(registered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "back.nrrd"
    options = ["--image", str(registered / "fixed.nii.gz"), "--registration", str(registered), "--to", "moving"]
    assert "linear interpolation" in run(capsys, *options, "--out", str(out))
    back, moving = sitk.ReadImage(str(out)), sitk.ReadImage(str(registered / "moving.nii.gz"))
    assert back.GetSize() == moving.GetSize() and np.allclose(back.GetOrigin(), moving.GetOrigin(), atol=1e-3)
    seen = [sitk.GetArrayFromImage(image).ravel() for image in (back, moving)]
    assert np.corrcoef(*seen)[0, 1] > 0.97


def test_a_transform_file_with_a_grid_does_the_same(
    registered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = ["--image", str(registered / "moving.nii.gz"), "--interpolation", "bspline"]
    run(capsys, *image, "--registration", str(registered), "--out", str(tmp_path / "a.nii.gz"))
    file, grid = str(registered / "transform.h5"), str(registered / "fixed.nii.gz")
    run(capsys, *image, "--transform", file, "--grid", grid, "--out", str(tmp_path / "b.nii.gz"))
    first, second = (nib.load(tmp_path / f"{name}.nii.gz").get_fdata() for name in "ab")
    assert first.max() > 500 and np.abs(first - second).max() < 0.01


def test_outside_is_a_number_of_the_user(registered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "ct.nii.gz"
    far = nib.load(registered / "fixed.nii.gz")
    affine = far.affine.copy()
    affine[0, 3] += 500
    nib.save(nib.Nifti1Image(np.asarray(far.dataobj), affine), tmp_path / "far.nii.gz")
    options = ["--image", str(registered / "moving.nii.gz"), "--registration", str(registered), "--outside", "-1024"]
    run(capsys, *options, "--grid", str(tmp_path / "far.nii.gz"), "--out", str(out))
    assert (nib.load(out).get_fdata() == -1024).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give either --registration DIR or --transform FILE --grid REFERENCE"),
        (["--registration", "{folder}", "--transform", "t.h5"], "give either --registration DIR or --transform"),
        (["--registration", "{folder}", "--to", "atlas"], "--to must be fixed or moving, got 'atlas'"),
        (["--transform", "{folder}/transform.h5"], "--transform FILE needs --grid REFERENCE and no --to"),
        (["--registration", "{folder}", "--interpolation", "cubic"], "interpolation must be one of auto, linear"),
        (["--registration", "{folder}", "--outside", "air"], "--outside must be a number, got 'air'"),
        (["--registration", "{folder}/fixed.nii.gz"], "is no folder; give the one that morphseek register wrote"),
    ],
)
def test_wrong_options_end_with_2(
    registered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    given = [option.format(folder=registered) for option in options]
    image = str(registered / "moving.nii.gz")
    with pytest.raises(SystemExit) as stop:
        main(["warp-image", "--image", image, "--out", str(tmp_path / "o.nii.gz"), *given])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "o.nii.gz").exists()
