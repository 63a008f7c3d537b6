"""Images, label maps and series through a known registration; SimpleITK as the other opinion."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from morphseek_monai.base.errors import DataError
from morphseek_monai.data.scans.scan import Scan, read_scan, read_series
from morphseek_monai.evaluation.pair import score_labels
from morphseek_monai.registration.folder import read_registration
from morphseek_monai.space.grid import Grid
from morphseek_monai.spatial.apply import warp_image, warp_scan, write_warped
from morphseek_monai.spatial.point_map import PointMap


def scan_of(array: np.ndarray, grid: Grid) -> Scan:
    return Scan("scan", array, grid.affine, None)


def test_an_image_is_what_simpleitk_makes_of_the_same_files(registered: Path) -> None:
    result = read_registration(registered)
    warped = warp_scan(read_scan(registered / "moving.nii.gz"), result.transform_from("fixed"), result.fixed)
    assert warped.interpolation == "linear" and "is an image" in warped.why
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
    scan = scan_of(moving.array - 400, moving.grid)
    phi = result.transform_from("fixed")
    far = Grid(result.fixed.size, result.fixed.affine + np.array([[0, 0, 0, 500]] + [[0] * 4] * 3))
    warped = warp_scan(scan, phi, far)
    assert "has negative values, and 0 where it ends" in warped.notices[0] and (warped.array == 0).all()
    assert warp_scan(scan, phi, far, outside=-1000).notices == ()
    assert (warp_scan(scan, phi, far, outside=-1000).array == -1000).all()
    assert (warp_scan(scan, phi, far, registered=-400).array == -400).all()
    ct = scan_of(moving.array - 1024, moving.grid)
    assert warp_scan(ct, phi, far).notices == () and (warp_scan(ct, phi, far).array == -1024).all()


@pytest.fixture
def identity() -> PointMap:
    return PointMap(())


FINE = Grid((24, 22, 20), np.diag([2.0, 2, 2, 1]))
SHIFTED = Grid((12, 11, 10), np.array([[4.0, 0, 0, 0.7], [0, 4, 0, 0.3], [0, 0, 4, 0.9], [0, 0, 0, 1]]))


def sitk_resample(array: np.ndarray, source: Grid, target: Grid) -> np.ndarray:
    def image(values: np.ndarray, grid: Grid) -> sitk.Image:
        made = sitk.GetImageFromArray(np.ascontiguousarray(values.T))
        made.SetSpacing(grid.spacing.tolist())
        made.SetOrigin(grid.affine[:3, 3].tolist())
        return made

    like = image(np.zeros(target.size, np.float32), target)
    found = sitk.Resample(image(array.astype(np.float32), source), like, sitk.Transform(), sitk.sitkLinear)
    return sitk.GetArrayFromImage(found).T


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("outside", [None, -7.0])
def test_nothing_of_a_nan_comes_into_an_interpolated_value(
    bad: float, outside: float | None, identity: PointMap, tmp_path: Path
) -> None:
    """A t map with NaN around the brain; SimpleITK averages values and their weights apart."""
    values = np.random.default_rng(0).normal(0, 3, FINE.size).astype(np.float32)
    brain = np.linalg.norm(np.indices(FINE.size) - np.array([12, 11, 10]).reshape(3, 1, 1, 1), axis=0) < 8
    nib.save(nib.Nifti1Image(np.where(brain, values, bad).astype(np.float32), FINE.affine), tmp_path / "t.nii")
    scan, warped = warp_image(tmp_path / "t.nii", identity, SHIFTED, outside=outside)
    assert f"{(~brain).sum()} NaN or infinite voxels lie outside of it" in scan.notices[0]
    weights = sitk_resample(brain, FINE, SHIFTED)
    expected = sitk_resample(np.where(brain, values, 0), FINE, SHIFTED) / np.maximum(weights, 0.1)
    clear = np.abs(weights - 0.5) > 1e-3
    empty = np.isnan(warped.array) if outside is None else warped.array == outside
    np.testing.assert_array_equal(empty[clear], (weights <= 0.5)[clear])
    np.testing.assert_allclose(warped.array[clear & ~empty], expected[clear & ~empty], atol=1e-3)
    assert 50 < (~empty).sum() < 1000


@pytest.mark.parametrize("interpolation", ["linear", "nearest", "bspline", "sinc"])
def test_a_constant_stays_one_up_to_the_nan(interpolation: str, identity: PointMap) -> None:
    values = np.full(FINE.size, 5.25, np.float32)
    values[:9] = np.nan
    series = nib.Nifti1Image(np.stack([values, np.full_like(values, 2.5)], -1), FINE.affine)
    _, warped = warp_image(series, identity, SHIFTED, interpolation, outside=-1)
    first, second = warped.array[..., 0], warped.array[..., 1]
    assert set(np.round(np.unique(first), 3)) == {-1, np.float32(5.25)} and (first == -1).mean() < 0.5
    np.testing.assert_allclose(second, 2.5, atol=0.02)  # NaN of one volume is none of the other


def test_nan_in_a_label_map_is_background(registered: Path, tmp_path: Path) -> None:
    """Dice with the map that has 0 there is 1, not what label 1 everywhere gives."""
    label = nib.load(registered / "moving_label.nii.gz")
    ids = np.where(np.asarray(label.dataobj) == 7, 1, np.asarray(label.dataobj)).astype(np.float32)
    nib.save(nib.Nifti1Image(np.where(ids == 0, np.nan, ids), label.affine), tmp_path / "nan.nii.gz")
    result = read_registration(registered)
    phi = result.transform_from("fixed")
    for choice in ("auto", "nearest"):
        _, warped = warp_image(tmp_path / "nan.nii.gz", phi, result.fixed, choice)
        expected = warp_scan(scan_of(ids, result.moving), phi, result.fixed, "nearest")
        np.testing.assert_array_equal(warped.array, expected.array)
    scores = score_labels(read_scan(tmp_path / "nan.nii.gz", "label"), scan_of(ids, result.moving), PointMap(()))
    assert [score.dice_before for score in scores] == [1, 1]


def discs(size: tuple[int, int, int], count: int) -> np.ndarray:
    """Marks of one voxel, apart from each other."""
    marks = np.zeros(size, np.int16)
    for label in range(1, count + 1):
        marks[3 + label % 5 * 4, 4 + label // 5 * 5, 5 + label % 3 * 4] = label
    return marks


def test_every_lost_label_is_named(identity: PointMap, tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(discs(FINE.size, 12), FINE.affine), tmp_path / "electrodes_seg.nii")
    _, warped = warp_image(tmp_path / "electrodes_seg.nii", identity, SHIFTED)
    lost = sorted(set(range(1, 13)) - set(np.unique(warped.array).tolist()))
    assert len(lost) > 6
    (notice,) = warped.notices
    names = ", ".join(map(str, lost))
    assert f"loses {len(lost)} of its labels on the grid: {names}; smaller than its voxels" in notice
    assert "--interpolation points" in notice


def test_points_carry_the_centre_of_each_label_where_the_transform_says(registered: Path) -> None:
    """SimpleITK's transform brings each voxel that was filled to the centre of its label."""
    result = read_registration(registered)
    marks = scan_of(discs(result.moving.size, 8), result.moving)
    warped = warp_scan(marks, result.transform_from("fixed"), result.fixed, "points")
    found = np.unique(warped.array)[1:].tolist()
    assert len(found) >= 4 and warped.array.dtype == np.int16
    told = warped.notices[0] if warped.notices else ""
    assert all(str(label) in told for label in set(range(1, 9)) - set(found))
    transform = sitk.ReadTransform(str(registered / "transform.h5"))
    flip = np.array([-1, -1, 1])
    for label in found:
        (voxel,) = np.argwhere(warped.array == label)
        (source,) = np.argwhere(marks.array == label)
        point = (result.fixed.affine @ [*voxel, 1])[:3] * flip
        there = np.array(transform.TransformPoint(point.tolist())) * flip
        apart = np.linalg.norm(there - (result.moving.affine @ [*source, 1])[:3])
        assert apart < np.linalg.norm(result.fixed.spacing)


def test_what_is_doubtful_is_refused_with_the_option(identity: PointMap, tmp_path: Path) -> None:
    blocks = np.repeat(np.random.default_rng(0).integers(1, 900, (12, 22, 20)), 2, axis=0).astype(np.int16)
    image = nib.Nifti1Image(blocks, FINE.affine)
    nib.save(image, tmp_path / "a.nii")
    with pytest.raises(DataError, match="may be a label map or an image .*; say which with --interpolation nearest"):
        warp_image(tmp_path / "a.nii", identity, SHIFTED)
    _, nearest = warp_image(tmp_path / "a.nii", identity, SHIFTED, "nearest")
    assert set(np.unique(nearest.array)) <= {*np.unique(blocks), 0}
    assert warp_image(tmp_path / "a.nii", identity, SHIFTED, "linear")[1].array.dtype == np.float32
    image.header.set_intent("label")
    nib.save(image, tmp_path / "b.nii")
    assert warp_image(tmp_path / "b.nii", identity, SHIFTED)[1].interpolation == "nearest"


def test_ids_saved_with_a_slope_stay_ids(identity: PointMap, tmp_path: Path) -> None:
    ids = np.repeat(np.repeat(np.arange(1, 133).reshape(12, 11, 1), 2, 0), 2, 1) * np.ones((1, 1, 20))
    image = nib.Nifti1Image(ids.astype(np.float32), FINE.affine)
    image.set_data_dtype(np.int16)  # NiBabel chooses a slope
    nib.save(image, tmp_path / "parcels_dseg.nii.gz")
    stored = np.asarray(nib.load(tmp_path / "parcels_dseg.nii.gz").dataobj)
    assert (stored != np.rint(stored)).any()
    _, warped = warp_image(tmp_path / "parcels_dseg.nii.gz", identity, SHIFTED)
    assert warped.interpolation == "nearest" and "rounded" in warped.notices[0]
    assert set(np.unique(warped.array)) <= set(range(133))


def test_a_value_outside_that_the_ids_cannot_hold_is_refused(registered: Path) -> None:
    result = read_registration(registered)
    label = read_scan(registered / "moving_label.nii.gz", "label")
    with pytest.raises(DataError, match="outside must be a value of .* type uint8, got -1; correct it"):
        warp_scan(label, result.transform_from("fixed"), result.fixed, outside=-1)


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
