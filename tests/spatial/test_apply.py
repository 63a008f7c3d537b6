"""Images, label maps and series through a known registration; SimpleITK as the other opinion."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from morphseek_monai.base.errors import DataError
from morphseek_monai.data.scans.scan import Scan, read_scan, read_series
from morphseek_monai.registration.folder import read_registration
from morphseek_monai.space.grid import Grid
from morphseek_monai.spatial.apply import warp_scan, write_warped


def scan_of(array: np.ndarray, grid: Grid) -> Scan:
    return Scan("scan", array, grid.affine, None)


def test_an_image_is_what_simpleitk_makes_of_the_same_files(registered: Path) -> None:
    result = read_registration(registered)
    warped = warp_scan(read_scan(registered / "moving.nii.gz"), result.transform_from("fixed"), result.fixed)
    assert warped.interpolation == "linear" and "an image" in warped.why
    names = (str(registered / f"{name}.nii.gz") for name in ("fixed", "moving"))
    fixed, moving = (sitk.ReadImage(name, sitk.sitkFloat32) for name in names)
    expected = sitk.Resample(moving, fixed, sitk.ReadTransform(str(registered / "transform.h5")), sitk.sitkLinear)
    apart = np.abs(warped.array - sitk.GetArrayFromImage(expected).transpose(2, 1, 0)).max()
    assert apart < 1e-3 * warped.array.max()


@pytest.mark.parametrize(("to", "source"), [("fixed", "moving"), ("moving", "fixed")])
def test_each_subject_is_carried_to_the_other(registered: Path, to: str, source: str) -> None:
    """``fixed`` and ``moving`` were drawn from one equation: warped they agree, unwarped they do not."""
    result = read_registration(registered)
    here, there = (read_scan(registered / f"{name}.nii.gz") for name in (to, source))
    warped = warp_scan(there, result.transform_from(to), result.grid(to)).array
    wrong = warp_scan(there, result.transform_from(source), result.grid(to)).array
    assert np.corrcoef(warped.ravel(), here.array.ravel())[0, 1] > 0.97
    assert np.corrcoef(wrong.ravel(), here.array.ravel())[0, 1] < 0.9


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.int64, np.float32, np.float64])
def test_labels_keep_their_type_and_their_ids(registered: Path, dtype: type) -> None:
    """Ids that interpolation would mix, at the top of what the type holds exactly."""
    result = read_registration(registered)
    ids = min(np.iinfo(dtype).max, 2**40) if np.issubdtype(dtype, np.integer) else 2**24 - 1
    label = read_scan(registered / "moving_label.nii.gz", "label")
    array = np.where(label.array == 7, dtype(ids), label.array.astype(dtype))
    warped = warp_scan(scan_of(array, label.grid), result.transform_from("fixed"), result.fixed)
    assert warped.interpolation == "nearest" and "a label map" in warped.why and warped.notices == ()
    assert warped.array.dtype == dtype
    assert set(np.unique(warped.array).tolist()) == {0, 2, ids}


def test_float_ids_beyond_single_precision_survive(registered: Path) -> None:
    result = read_registration(registered)
    label = read_scan(registered / "moving_label.nii.gz", "label")
    array = np.where(label.array == 7, 2.0**30 + 1, label.array)
    warped = warp_scan(scan_of(array, label.grid), result.transform_from("fixed"), result.fixed).array
    assert set(np.unique(warped).tolist()) == {0, 2, 2**30 + 1}


def test_labels_interpolated_on_demand_are_remarked_on(registered: Path) -> None:
    result = read_registration(registered)
    label = read_scan(registered / "moving_label.nii.gz", "label")
    warped = warp_scan(label, result.transform_from("fixed"), result.fixed, "linear")
    assert warped.array.dtype == np.float32 and len(np.unique(warped.array)) > 10
    assert "makes values that are no labels" in warped.notices[0]


@pytest.mark.parametrize("interpolation", ["linear", "nearest", "bspline", "sinc"])
def test_volumes_of_a_series_are_moved_alike(registered: Path, interpolation: str) -> None:
    result = read_registration(registered)
    moving = read_scan(registered / "moving.nii.gz")
    series = scan_of(np.stack([moving.array, 2 * moving.array, 3 * moving.array], axis=3), moving.grid)
    phi = result.transform_from("fixed")
    warped = warp_scan(series, phi, result.fixed, interpolation).array
    assert warped.shape == (*result.fixed.size, 3)
    one = warp_scan(moving, phi, result.fixed, interpolation).array
    assert np.allclose(warped, one[..., None] * np.array([1, 2, 3]), atol=0.01)


def test_a_series_keeps_its_time_step_and_takes_the_new_grid(registered: Path, tmp_path: Path) -> None:
    result = read_registration(registered)
    moving = read_scan(registered / "moving.nii.gz")
    image = nib.Nifti1Image(np.stack([moving.array] * 4, axis=3), moving.affine)
    image.header.set_zooms((*image.header.get_zooms()[:3], 2.5))
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, tmp_path / "series.nii.gz")
    scan = read_series(tmp_path / "series.nii.gz")
    warped = warp_scan(scan, result.transform_from("fixed"), result.fixed)
    write_warped(tmp_path / "out.nii.gz", warped, result.fixed, scan)
    written = nib.load(tmp_path / "out.nii.gz")
    assert written.shape == (*result.fixed.size, 4)
    assert written.header.get_zooms()[3] == 2.5 and written.header.get_xyzt_units() == ("mm", "sec")
    assert np.allclose(written.affine, result.fixed.affine, atol=1e-5)
    assert np.allclose(written.header.get_zooms()[:3], result.fixed.spacing, atol=1e-5)


def test_negative_values_are_remarked_on(registered: Path) -> None:
    result = read_registration(registered)
    moving = read_scan(registered / "moving.nii.gz")
    scan = scan_of(moving.array - 1000, moving.grid)
    phi = result.transform_from("fixed")
    far = Grid(result.fixed.size, result.fixed.affine + np.array([[0, 0, 0, 500]] + [[0] * 4] * 3))
    warped = warp_scan(scan, phi, far)
    assert "has negative values, and 0 where it ends" in warped.notices[0] and (warped.array == 0).all()
    assert warp_scan(scan, phi, far, outside=-1000).notices == ()
    assert (warp_scan(scan, phi, far, outside=-1000).array == -1000).all()


def test_nothing_of_the_input_changes(registered: Path) -> None:
    result = read_registration(registered)
    for name in ("moving", "moving_label"):
        scan = read_scan(registered / f"{name}.nii.gz", "label")
        before = scan.array.copy()
        warp_scan(scan, result.transform_from("fixed"), result.fixed)
        assert np.array_equal(scan.array, before)


def test_unknown_interpolation(registered: Path) -> None:
    result = read_registration(registered)
    with pytest.raises(DataError, match="interpolation must be one of auto, linear, .*, got 'cubic'"):
        warp_scan(read_scan(registered / "moving.nii.gz"), result.transform_from("fixed"), result.fixed, "cubic")


def test_other_formats_have_the_grid(registered: Path, tmp_path: Path) -> None:
    result = read_registration(registered)
    scan = read_scan(registered / "moving.nii.gz")
    warped = warp_scan(scan, result.transform_from("fixed"), result.fixed)
    write_warped(tmp_path / "out.nrrd", warped, result.fixed, scan)
    assert read_scan(tmp_path / "out.nrrd").grid.same_as(result.fixed)
