from __future__ import annotations

import locale
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from morphseek_monai.data import DataError
from morphseek_monai.data.scans.scan import read_scan, read_series, write_scan

VALUES = np.random.default_rng(0).integers(0, 2000, (11, 10, 9)).astype(np.int16)
DIRECTION = (0.6, -0.8, 0.0, 0.8, 0.6, 0.0, 0.0, 0.0, 1.0)
WriteSeries = Callable[..., Path]


@pytest.fixture
def write_series(tmp_path: Path) -> WriteSeries:
    """``write_series(uid="1.2.3.1", skip=(), lean=0.0, intercept=0, repeat=1)``: one file for each axial slice.

    ``lean`` mm per slice is a tilted gantry; ``repeat`` gives each place that many images.
    """

    def write(
        uid: str = "1.2.3.1",
        skip: Sequence[int] = (),
        lean: float = 0.0,
        intercept: int = 0,
        repeat: int = 1,
        description: str = "T1 axial",
        folder: str = "series",
    ) -> Path:
        (tmp_path / folder).mkdir(exist_ok=True)
        image = sitk.GetImageFromArray(np.ascontiguousarray(VALUES.T))
        image.SetSpacing((0.8, 1.2, 2.5))
        image.SetOrigin((10.0, -20.0, 30.0))
        image.SetDirection(DIRECTION)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        # as scanners may: the names do not sort like the places
        for k in [k for k in reversed(range(VALUES.shape[2])) if k not in skip] * repeat:
            number = len(list((tmp_path / folder).iterdir()))
            x, y, z = image.TransformIndexToPhysicalPoint((0, 0, k))
            slice_ = image[:, :, k]
            for tag, value in {
                "0008|0060": "CT",
                "0020|000d": "1.2.3",
                "0020|000e": uid,
                "0008|0018": f"{uid}.{number}",
                "0008|103e": description,
                "0020|0032": f"{x:.9f}\\{y + lean * k:.9f}\\{z:.9f}",
                "0020|0037": "\\".join(str(value) for value in (*DIRECTION[0::3], *DIRECTION[1::3])),
                "0020|0013": str(number),
                "0028|1053": "1",
                "0028|1052": str(intercept),
            }.items():
                slice_.SetMetaData(tag, value)
            writer.SetFileName(str(tmp_path / folder / f"IM{number:04d}"))
            writer.SetImageIO("GDCMImageIO")
            writer.Execute(slice_)
        return tmp_path / folder

    return write


def simpleitk(folder: Path) -> sitk.Image:
    return sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))


def test_a_folder_is_one_scan_where_simpleitk_sees_it(write_series: WriteSeries) -> None:
    folder = write_series()
    before = locale.setlocale(locale.LC_ALL)
    scan = read_scan(folder)
    assert locale.setlocale(locale.LC_ALL) == before
    image = simpleitk(folder)
    assert scan.notices == ()
    assert scan.name == str(folder)
    np.testing.assert_array_equal(scan.array, VALUES)
    np.testing.assert_array_equal(scan.array, sitk.GetArrayFromImage(image).T)
    for index in [(0, 0, 0), (10, 2, 8), (3, 9, 4)]:
        x, y, z = image.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(scan.affine @ [*index, 1], [-x, -y, z, 1], atol=1e-6)


def test_the_rescaling_of_ct_is_applied(write_series: WriteSeries) -> None:
    folder = write_series(intercept=-1024)  # stored as VALUES + 1024
    assert float(sitk.ReadImage(str(folder / "IM0000")).GetMetaData("0028|1052")) == -1024
    scan = read_series(folder)
    assert scan.array.dtype.kind == "i"
    np.testing.assert_array_equal(scan.array, VALUES)


def test_slices_with_slopes_of_their_own(write_series: WriteSeries) -> None:
    """As PET has; slopes of whole numbers must not round the others."""
    folder = write_series(intercept=-1024)  # stored as VALUES + 1024
    slope = b"\x28\x00\x53\x10\x02\x00\x00\x00"  # tag and length
    for k in (3, 4):
        path = folder / f"IM{VALUES.shape[2] - 1 - k:04d}"
        content = path.read_bytes()
        assert slope + b"1 " in content
        path.write_bytes(content.replace(slope + b"1 ", slope + b".5"))
    slopes = np.where(np.isin(range(9), [3, 4]), 0.5, 1)
    np.testing.assert_allclose(read_scan(folder).array, (VALUES + 1024) * slopes - 1024)


def test_a_tilted_gantry_is_a_shear_not_a_mistake(write_series: WriteSeries) -> None:
    scan = read_scan(write_series(lean=0.5))
    (notice,) = scan.notices
    assert "(sheared grid)" in notice
    # last slice: 8 slices of 2.5 mm up and 8 x 0.5 mm to posterior of the first
    np.testing.assert_allclose(scan.affine @ [0, 0, 8, 1], [-10, 20 - 4, 50, 1], atol=1e-5)


def test_a_missing_slice_is_told(write_series: WriteSeries, capfd: Any) -> None:
    folder = write_series(skip=(4,))
    (notice,) = read_scan(folder, "moving image").notices
    slices = "its slices lie 2.5 to 5 mm apart, one may be missing; resampled to 9 slices, one every 2.5 mm"
    assert notice == f"moving image {folder}: {slices}"
    assert "WARNING" not in capfd.readouterr().err


@pytest.mark.parametrize(("skip", "lean"), [((4,), 0.0), ((1, 2, 6), 0.0), ((7,), 0.5)])
def test_uneven_slices_lie_where_each_file_says(skip: tuple[int, ...], lean: float, write_series: WriteSeries) -> None:
    """SimpleITK reads each file by itself: its corner lies on our grid, and its pixels are there."""
    folder = write_series(skip=skip, lean=lean)
    scan = read_scan(folder)
    assert scan.array.shape == VALUES.shape
    for path in folder.iterdir():
        image = sitk.ReadImage(str(path))
        x, y, z = image.TransformIndexToPhysicalPoint((0, 0, 0))
        voxel = np.linalg.solve(scan.affine, [-x, -y, z, 1])[:3]
        np.testing.assert_allclose(voxel, np.rint(voxel), atol=1e-4)
        np.testing.assert_array_equal(scan.array[..., int(np.rint(voxel[2]))], sitk.GetArrayFromImage(image)[0].T)
    between = (VALUES[..., skip[0] - 1].astype(float) + VALUES[..., skip[0] + 1]) / 2
    if skip[0] + 1 not in skip:
        np.testing.assert_allclose(scan.array[..., skip[0]], between, atol=0.5)


def test_several_images_of_one_place_are_refused(write_series: WriteSeries) -> None:
    with pytest.raises(DataError, match=r"series holds several images of one place \(a time series, a slice twice"):
        read_series(write_series(repeat=2))


def test_several_series_are_listed(write_series: WriteSeries) -> None:
    write_series(uid="1.2.3.1", description="T1 axial")
    folder = write_series(uid="1.2.3.2", description="T2 axial", skip=(0, 1))
    with pytest.raises(
        DataError,
        match=r"holds 2 DICOM series: 1.2.3.1 \(T1 axial, 9 files\), 1.2.3.2 \(T2 axial, 7 files\);"
        " give each a folder of its own",
    ):
        read_scan(folder)


def test_a_long_list_of_series_is_cut(write_series: WriteSeries) -> None:
    for n in range(10):
        folder = write_series(uid=f"1.2.3.{n + 1}", skip=range(1, 9), description="")
    with pytest.raises(DataError, match=r"holds 10 DICOM series: (1.2.3.\d+ \(no description, 1 files\), ){8}\.\.\.;"):
        read_scan(folder)


def test_a_single_slice_asks_for_the_folder(write_series: WriteSeries) -> None:
    folder = write_series()
    with pytest.raises(DataError, match=r"IM0003 is a single slice, .*\(for DICOM the folder of its series\)"):
        read_scan(folder / "IM0003")
    with pytest.raises(DataError, match="alone is a single slice"):
        read_scan(write_series(skip=range(1, 9), folder="alone"))


def test_a_damaged_slice_at_the_end_is_told_though_no_gap_shows_it(write_series: WriteSeries) -> None:
    folder = write_series()
    damaged = folder / "IM0000"
    damaged.write_bytes(damaged.read_bytes()[:-60])
    (folder / "notes.txt").write_text("no DICOM")
    scan = read_scan(folder, "fixed image")
    assert scan.grid.size == (11, 10, 8)
    assert scan.notices == (
        f"fixed image {folder}: 1 DICOM file(s) were left out, damaged or without an image: IM0000",
    )


def test_slices_of_different_sizes(write_series: WriteSeries) -> None:
    folder = write_series()
    image = sitk.ReadImage(str(folder / "IM0004"))
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetImageIO("GDCMImageIO")
    writer.SetFileName(str(folder / "IM0004"))
    smaller = image[:5]
    for key in image.GetMetaDataKeys():
        smaller.SetMetaData(key, image.GetMetaData(key))
    writer.Execute(smaller)
    with pytest.raises(DataError, match=f"^fixed image {folder} cannot be read .*copy it again") as caught:
        read_scan(folder, "fixed image")
    assert "\n" not in str(caught.value)


def test_colour_has_no_frame(tmp_path: Path) -> None:
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetImageIO("GDCMImageIO")
    for k in range(9):
        slice_ = sitk.GetImageFromArray(np.zeros((10, 11, 3), np.uint8), isVector=True)
        for tag, value in {
            "0008|0060": "OT",
            "0020|000d": "1.2.3",
            "0020|000e": "1.2.3.1",
            "0008|0018": f"1.2.3.1.{k}",
            "0020|0032": f"0\\0\\{k}",
        }.items():
            slice_.SetMetaData(tag, value)
        writer.SetFileName(str(tmp_path / f"IM{k}"))
        writer.Execute(slice_)
    with pytest.raises(DataError, match=f"^image {tmp_path} holds colour images, of which no frame can be picked"):
        read_scan(tmp_path, frame=0)


def test_a_folder_without_dicom(tmp_path: Path, capfd: Any) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    for folder in (tmp_path, tmp_path / "empty"):
        folder.mkdir(exist_ok=True)
        with pytest.raises(DataError, match=f"^image {folder} is a folder without DICOM images"):
            read_scan(folder)
    assert capfd.readouterr().err == ""


def test_dicom_to_nifti_keeps_every_place(write_series: WriteSeries, tmp_path: Path) -> None:
    folder = write_series(intercept=-1024)
    scan = read_scan(folder)
    write_scan(tmp_path / "a.nii.gz", scan.array, scan.grid, scan)
    written = sitk.ReadImage(str(tmp_path / "a.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(written).T, scan.array)
    for index in [(0, 0, 0), (10, 2, 8)]:
        expected = simpleitk(folder).TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(written.TransformIndexToPhysicalPoint(index), expected, atol=1e-4)
