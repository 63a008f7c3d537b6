"""``morphseek compose`` on files: order, and one interpolation instead of two."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from morphseek_monai.apps.main import main
from morphseek_monai.registration.folder import read_grid
from morphseek_monai.spatial.files.transform_file import write_transform
from morphseek_monai.spatial.transform import make_transform


@pytest.fixture
def second(registered: Path, tmp_path: Path) -> str:
    """A transform from points of the moving image to those of a third image: a shift and a turn."""
    matrix = np.array([[0.98, -0.2, 0, 6], [0.2, 0.98, 0, 3], [0, 0, 1, -2], [0, 0, 0, 1]])
    write_transform(tmp_path / "b.h5", make_transform(matrix, None, read_grid(registered / "moving.nii.gz")))
    return str(tmp_path / "b.h5")


@pytest.mark.parametrize("collapse", [False, True])
def test_the_third_image_comes_to_the_first_in_one_interpolation(
    registered: Path, tmp_path: Path, second: str, capsys: pytest.CaptureFixture[str], collapse: bool
) -> None:
    first, fixed = str(registered / "transform.h5"), str(registered / "fixed.nii.gz")
    out = tmp_path / "c.h5"
    options = ["--grid", fixed] if collapse else []
    main(["compose", "--transforms", f"{first},{second}", "--out", str(out), *options])
    printed = capsys.readouterr().out
    assert f"{second} of {first}" in printed
    acting = "DisplacementFieldTransform" + ("" if collapse else ", AffineTransform, AffineTransform")
    assert printed.strip().endswith(f"in the order they act: {acting}")

    # SimpleITK, told by hand: of its composites, too, the transform added last acts first
    by_hand = sitk.CompositeTransform([sitk.ReadTransform(second), sitk.ReadTransform(first)])
    composed = sitk.ReadTransform(str(out))
    grid = read_grid(fixed)
    for point in (grid.centre * [-1, -1, 1] + np.random.default_rng(0).uniform(-5, 5, (5, 3))).tolist():
        apart = np.abs(np.subtract(composed.TransformPoint(point), by_hand.TransformPoint(point))).max()
        assert apart < (0.01 if collapse else 1e-4)
    # the third image: the moving one seen from there
    reference, moving = sitk.ReadImage(fixed), sitk.ReadImage(str(registered / "moving.nii.gz"), sitk.sitkFloat32)
    third = moving[:]
    affine = sitk.ReadTransform(second)
    linear = sitk.AffineTransform(sitk.CompositeTransform(affine).GetNthTransform(0))
    matrix = np.reshape(linear.GetMatrix(), (3, 3))
    rotation = matrix / np.cbrt(np.linalg.det(matrix))
    third.SetOrigin(affine.TransformPoint(moving.GetOrigin()))
    third.SetSpacing(np.multiply(moving.GetSpacing(), np.cbrt(np.linalg.det(matrix))).tolist())
    third.SetDirection((rotation @ np.reshape(moving.GetDirection(), (3, 3))).ravel().tolist())
    once = sitk.GetArrayFromImage(sitk.Resample(third, reference, composed, sitk.sitkLinear))
    expected = sitk.GetArrayFromImage(sitk.Resample(moving, reference, sitk.ReadTransform(first), sitk.sitkLinear))
    assert expected.max() > 500 and np.abs(once - expected).max() < 0.03 * expected.max()


def test_one_transform_is_only_collapsed(registered: Path, tmp_path: Path) -> None:
    options = ["--grid", str(registered / "fixed.nii.gz"), "--out", str(tmp_path / "c.h5")]
    main(["compose", "--transforms", str(registered / "transform.h5"), *options])
    assert sitk.ReadTransform(str(tmp_path / "c.h5")).GetDimension() == 3
    image = ["--image", str(registered / "moving.nii.gz")]
    main(["warp-image", *image, "--registration", str(registered), "--out", str(tmp_path / "a.nii.gz")])
    options = ["--grid", str(registered / "fixed.nii.gz"), "--transform", str(tmp_path / "c.h5")]
    main(["warp-image", *image, *options, "--out", str(tmp_path / "b.nii.gz")])
    first, second = (nib.load(tmp_path / f"{name}.nii.gz").get_fdata() for name in "ab")
    assert np.abs(first - second).max() < 0.1


@pytest.mark.parametrize(
    ("transforms", "message"), [("a.h5,", "--transforms must be files"), ("none.h5", "none.h5 does not exist")]
)
def test_wrong_options_end_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], transforms: str, message: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["compose", "--transforms", transforms, "--out", str(tmp_path / "c.h5")])
    assert stop.value.code == 2 and message in capsys.readouterr().err
