"""What a result gives back: images, points, labels, files, each in its own type and place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import itk
import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from morphseek_monai.base.errors import DataError
from morphseek_monai.registration.models.model import RegistrationModel
from morphseek_monai.registration.register import register
from morphseek_monai.registration.result import RegistrationResult
from morphseek_monai.spatial.files.transform_file import read_transform
from morphseek_monai.spatial.transform import map_points, to_ddf

from ..scenes import Brains, centred, turned

FILES = {"warped.nii.gz", "jacobian.nii.gz", "transform.h5", "inverse.h5", "result.json"}


@pytest.fixture(scope="module")
def images(brains: Brains) -> tuple[Any, Any]:
    fixed = brains.resampled(0, centred((40, 38, 36), (5.0, 4.8, 5.2), turned((8, -9, 12), (5, 6, 7))))
    return fixed, brains.image(1)


@pytest.fixture(scope="module")
def result(images: tuple[Any, Any], model: RegistrationModel) -> RegistrationResult:
    return register(*images, bundle=model, affine=turned((2, 3, -4), (4, -3, 2)), uncertainty=True)


@pytest.fixture(scope="module")
def saved(result: RegistrationResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "new" / "folder"
    result.save(folder, report=False)
    return folder


def tissue(image: Any, step: int) -> Any:
    """Some voxels of the brain."""
    array = image.get_fdata()
    return np.argwhere(array > 0.3 * array.max())[::step]


def bright(image: Any) -> Any:
    """Some points of the brain."""
    return nib.affines.apply_affine(image.affine, tissue(image, 100))


def test_the_transform_is_the_field_and_then_the_affine(result: RegistrationResult) -> None:
    grid = result.field_grid
    voxels = np.array([[20, 18, 17], [12, 25, 20], [30, 10, 11]])
    moved = voxels + result.ddf[0][:, voxels[:, 0], voxels[:, 1], voxels[:, 2]].T.double().numpy()
    world = nib.affines.apply_affine(result.affine @ grid.affine, moved)
    found = result.map_points(nib.affines.apply_affine(grid.affine, voxels))
    np.testing.assert_allclose(found, world, atol=1e-4)


def test_points_there_and_back(result: RegistrationResult, images: tuple[Any, Any]) -> None:
    points = bright(images[0])
    there = result.map_points(points, "fixed")
    assert np.linalg.norm(there - points, axis=1).mean() > 2
    back = np.linalg.norm(result.map_points(there, "moving") - points, axis=1)
    assert np.percentile(back, 95) < 1 and len(points) > 30


def test_points_of_a_third_image_are_refused(result: RegistrationResult) -> None:
    with pytest.raises(ValueError, match=r"map_points\(\) 'source' must be 'fixed' or 'moving', got 'atlas'"):
        result.map_points(np.zeros((1, 3)), "atlas")


def test_the_warped_image_is_the_moving_one_at_the_mapped_points(
    result: RegistrationResult, images: tuple[Any, Any]
) -> None:
    from scipy.ndimage import map_coordinates

    voxels = tissue(images[0], 50)
    mapped = result.map_points(nib.affines.apply_affine(images[0].affine, voxels))
    inside = np.linalg.inv(images[1].affine)
    expected = map_coordinates(images[1].get_fdata(), nib.affines.apply_affine(inside, mapped).T, order=1)
    found = result.warped_array[tuple(voxels.T)]
    assert len(found) > 50 and found.std() > 0.05 * np.ptp(images[1].get_fdata())
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.ptp(images[1].get_fdata()))


@pytest.mark.parametrize(
    ("dtype", "ids"),
    [
        (np.uint8, (0, 3, 250)),
        (np.int16, (0, 5, 1024)),
        (np.uint16, (0, 11101, 11102)),
        (np.int32, (0, 2**24, 2**24 + 1)),
        (np.uint64, (0, 1, 2**32)),
        (np.float32, (0, 2, 17)),
        (np.float64, (0, 2, 2**24 + 1)),
    ],
)
def test_labels_keep_their_ids(result: RegistrationResult, images: tuple[Any, Any], dtype: Any, ids: Any) -> None:
    moving = images[1].get_fdata()
    array = np.asarray(ids, dtype=dtype)[np.digitize(moving / moving.max(), [0.3, 0.6])]
    warped = result.warp(MetaTensor(torch.from_numpy(array), affine=torch.from_numpy(images[1].affine)))
    assert set(np.unique(warped.numpy()).tolist()) - {0} == set(ids) - {0} and warped.numpy().dtype == dtype


def test_warp_keeps_type_and_takes_other_grids(result: RegistrationResult, brains: Brains) -> None:
    other = brains.resampled(1, centred((30, 64, 40), (6.0, 3.0, 5.0), turned((20, 0, 10), (3, 0, 0))))
    found = result.warp(other)
    assert type(found) is nib.Nifti1Image and found.shape == result.warped_array.shape
    where = result.warped_array > 0.3 * result.warped_array.max()
    assert np.corrcoef(found.get_fdata()[where], result.warped_array[where])[0, 1] > 0.8
    image = itk.image_from_array(np.ascontiguousarray(brains.arrays[1].T))
    assert isinstance(result.warp(image), type(image))


def test_files_hold_what_the_result_holds(saved: Path, result: RegistrationResult, images: tuple[Any, Any]) -> None:
    assert {path.name for path in saved.iterdir()} == FILES | {"uncertainty.nii.gz"}
    for name, array in (("warped", result.warped_array), ("jacobian", result.jacobian)):
        image: Any = nib.load(saved / f"{name}.nii.gz")
        np.testing.assert_array_equal(np.asarray(image.dataobj), array)
        assert np.array_equal(image.affine, images[0].affine.astype(np.float32))
        assert image.get_data_dtype() == np.float32
    points = bright(images[0])
    for name, source in (("transform", "fixed"), ("inverse", "moving")):
        read = map_points(read_transform(saved / f"{name}.h5"), points)
        np.testing.assert_allclose(read, result.map_points(points, source), atol=1e-4)
    assert json.loads((saved / "result.json").read_text()) == json.loads(json.dumps(result.record))


def test_the_uncertainty_lies_on_the_fixed_grid(saved: Path, result: RegistrationResult) -> None:
    image: Any = nib.load(saved / "uncertainty.nii.gz")
    assert image.shape == result.warped_array.shape and image.get_fdata().min() >= 0 < image.get_fdata().max()


def test_nothing_of_an_earlier_registration_stays(result: RegistrationResult, tmp_path: Path) -> None:
    import dataclasses

    for name in ("uncertainty.nii.gz", "report.html", "report.png", "result.json", "notes.txt"):
        (tmp_path / name).write_text("old")
    dataclasses.replace(result, uncertainty=None).save(tmp_path, report=False)
    assert {path.name for path in tmp_path.iterdir()} == FILES | {"notes.txt"}
    assert (tmp_path / "notes.txt").read_text() == "old"


def test_result_json_is_written_last(
    result: RegistrationResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise DataError("disk full")

    (tmp_path / "result.json").write_text("of another pair")
    monkeypatch.setattr("morphseek_monai.registration.report.write_report", full)
    with pytest.raises(DataError, match="disk full"):
        result.save(tmp_path)
    assert not (tmp_path / "result.json").exists()


def test_a_coarse_field_is_shown_on_the_fixed_grid(images: tuple[Any, Any], model: RegistrationModel) -> None:
    from morphseek_monai.registration import register as module
    from morphseek_monai.registration.memory.plan import MemoryPlan

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "plan_memory", lambda *_: MemoryPlan(1, 2, 2, 1.0, ("coarser",)))
        result = register(*images, bundle=model, affine="off")
    assert result.field_grid.size == (20, 19, 18) and "coarser" in result.notices
    content = result.report_content()
    assert content.jacobian.shape == content.warped.shape == images[0].shape
    voxels = np.array([[20, 18, 17], [12, 25, 20]])
    world = nib.affines.apply_affine(images[0].affine, voxels)
    whole = to_ddf(result.transform, result.fixed.grid)[0]
    shown = content.ddf[:, voxels[:, 0], voxels[:, 1], voxels[:, 2]].T * result.fixed.grid.spacing
    exact = whole[:, voxels[:, 0], voxels[:, 1], voxels[:, 2]].T.numpy() * result.fixed.grid.spacing
    assert np.linalg.norm(exact, axis=1).max() > 1
    np.testing.assert_allclose(shown, exact, atol=1.5)  # the nearest of voxels of 10 mm
    lengths = np.linalg.norm(result.map_points(world) - world, axis=1)
    np.testing.assert_allclose(lengths, np.linalg.norm(exact, axis=1), atol=0.1)


def test_negative_ids_are_labels(result: RegistrationResult, images: tuple[Any, Any]) -> None:
    moving = images[1].get_fdata()
    labels = nib.Nifti1Image(np.where(moving > 0.3 * moving.max(), -5, 7).astype(np.int16), images[1].affine)
    assert set(np.unique(result.warp(labels, "nearest").get_fdata())) <= {-5, 0, 7}
    assert set(np.unique(result.warp(labels).get_fdata())) <= {-5, 0, 7}
    assert len(np.unique(result.warp(labels, "linear").get_fdata())) > 3


def test_a_series_and_a_ct_are_carried_like_by_warp_scan(result: RegistrationResult, images: tuple[Any, Any]) -> None:
    import dataclasses

    from morphseek_monai.data.scans.scan import read_series
    from morphseek_monai.spatial.apply import warp_scan

    ct = dataclasses.replace(result, outside=-1000.0)
    moving = images[1].get_fdata(dtype=np.float32)
    series = nib.Nifti1Image(np.stack([moving - 1024, moving], axis=-1), images[1].affine)
    found = ct.warp(series)
    expected = warp_scan(read_series(series), result.forward, result.fixed.grid, outside=-1000.0)
    assert found.shape == (*result.fixed.grid.size, 2)
    np.testing.assert_array_equal(found.get_fdata(dtype=np.float32), expected.array)
    assert (found.get_fdata() == -1000).any() and found.get_fdata()[..., 1].min() == -1000
    dose = ct.warp(nib.Nifti1Image(moving, images[1].affine))  # has nothing as low: it ends in 0
    assert dose.get_fdata().min() > -1000 and (dose.get_fdata() == 0).any()
    with pytest.raises(DataError, match="interpolation must be one of auto, linear"):
        ct.warp(images[1], "cubic")
    tensor = torch.from_numpy(np.moveaxis(np.asarray(series.dataobj), -1, 0))
    again = ct.warp(MetaTensor(tensor, affine=torch.from_numpy(images[1].affine)))
    np.testing.assert_array_equal(again.numpy(), np.moveaxis(expected.array, -1, 0))


class Stopped(BaseException):
    """Neither an error nor expected."""


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError, Stopped])
@pytest.mark.parametrize("where", ["warped.nii.gz", "inverse.h5", "result.json"])
def test_what_is_interrupted_leaves_nothing(
    where: str, error: type[BaseException], result: RegistrationResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    replace = os.replace

    def stopped(source: Any, target: Any) -> None:
        if Path(target).name == where:
            raise error
        replace(source, target)

    for name in FILES:
        (tmp_path / name).write_text("of an earlier registration")
    (tmp_path / "notes.txt").write_text("mine")
    monkeypatch.setattr(os, "replace", stopped)
    with pytest.raises(error):
        result.save(tmp_path, report=False)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_relative_folder_is_that_of_the_beginning(
    result: RegistrationResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a library changes the working folder of the process while it loads a part of itself."""
    import os

    from morphseek_monai.registration import result as module

    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    write = module.write_transform

    def elsewhere(*args: Any) -> None:
        os.chdir(tmp_path / "there")
        write(*args)

    monkeypatch.setattr(module, "write_transform", elsewhere)
    result.save("out", report=False)
    assert {path.name for path in (tmp_path / "here/out").iterdir()} == FILES | {"uncertainty.nii.gz"}
    assert list((tmp_path / "there").iterdir()) == []


def test_a_folder_that_cannot_be_emptied_is_told(result: RegistrationResult, tmp_path: Path) -> None:
    (tmp_path / "warped.nii.gz").mkdir()
    with pytest.raises(DataError, match=r"warped.nii.gz cannot be written \(.*\); give a writable folder"):
        result.save(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file/result.json cannot be written \(Not a directory\)"):
        result.save(tmp_path / "file")


def test_the_moving_image_is_shown_as_it_would_be_resampled(result: RegistrationResult) -> None:
    from morphseek_monai.spatial.point_map import PointMap
    from morphseek_monai.spatial.transform import resample

    content, grid, moving = result.report_content(), result.fixed.grid, result.moving
    for shown, matrix in ((content.before, np.eye(4)), (content.aligned, result.affine)):
        whole = resample(moving.array, moving.affine, PointMap((matrix,)), grid, outside=result.outside)
        assert shown.shape == whole.shape
        for axis, index in ((0, 11), (1, 20), (2, 35)):
            np.testing.assert_allclose(shown.take(index, axis), whole.take(index, axis), atol=1e-5 * np.ptp(whole))
