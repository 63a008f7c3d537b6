from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import itk
import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from morphseek_monai.data import DataError
from morphseek_monai.data.scans.scan import read_scan, read_series, same_type, write_scan
from morphseek_monai.space.grid import Grid

FullDisk = Callable[[int], AbstractContextManager[None]]
RNG = np.random.default_rng(0)
IMAGE = RNG.normal(size=(8, 9, 10)).astype(np.float32)
OBLIQUE = np.array([[0.6, -1.6, 0.0, 11.0], [0.8, 1.2, 0.0, -22.0], [0.0, 0.0, 3.0, 33.0], [0, 0, 0, 1]])
GRID = Grid((8, 9, 10), OBLIQUE)
SUFFIXES = [".nii", ".nii.gz", ".nrrd", ".mha"]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4", "f8", "?", "f2", ">i2"])
def test_what_is_written_is_read_back(suffix: str, dtype: str, tmp_path: Path) -> None:
    values = (IMAGE * 9 + 30).astype(dtype)
    write_scan(tmp_path / f"a{suffix}", values, GRID)
    scan = read_scan(tmp_path / f"a{suffix}", "label")
    np.testing.assert_array_equal(scan.array, values)
    assert scan.array.dtype == {"?": np.dtype("u1"), "f2": np.dtype("f4")}.get(dtype, np.dtype(dtype).newbyteorder("="))
    assert scan.grid.same_as(GRID)
    assert scan.notices == ()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_simpleitk_sees_the_written_voxels_at_their_place(suffix: str, tmp_path: Path) -> None:
    write_scan(tmp_path / f"a{suffix}", IMAGE, GRID)
    image = sitk.ReadImage(str(tmp_path / f"a{suffix}"))
    for index in [(0, 0, 0), (7, 2, 9)]:
        assert image.GetPixel(index) == IMAGE[index]
        x, y, z = image.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(OBLIQUE @ [*index, 1], [-x, -y, z, 1], atol=1e-4)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_series_is_written_and_read_back(suffix: str, tmp_path: Path) -> None:
    series = RNG.normal(size=(8, 9, 10, 3)).astype(np.float32)
    write_scan(tmp_path / f"a{suffix}", series, GRID)
    scan = read_series(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(scan.array, series)
    assert scan.grid.same_as(GRID)


def _read_alike(path: Path) -> None:
    """NiBabel, ITK and SimpleITK see the voxels at the same places."""
    affine = nib.load(path).affine
    for image in (sitk.ReadImage(str(path)), itk.imread(str(path))):
        for index in [(0, 0, 0), (7, 2, 9)]:
            x, y, z = image.TransformIndexToPhysicalPoint(index)
            np.testing.assert_allclose(affine @ [*index, 1], [-x, -y, z, 1], atol=1e-3)


def _contradiction(kind: str) -> Any:
    image = nib.Nifti1Image(IMAGE, OBLIQUE)
    image.set_qform(OBLIQUE, 1)
    image.set_sform(OBLIQUE, 1)
    if kind == "pixdim":
        image.header["pixdim"][1:4] = [3, 3, 3]
        image.header["qform_code"] = 0
    if kind == "qform":
        image.header["qoffset_x"] += 20
    if kind in ("micron", "meter"):
        image.header.set_xyzt_units(kind)
    return image


@pytest.mark.parametrize("kind", ["pixdim", "qform", "micron", "meter"])
def test_a_header_that_contradicts_itself_is_not_passed_on(kind: str, tmp_path: Path) -> None:
    """What lies on the fixed image's grid has one geometry, the one that the registration used."""
    nib.save(_contradiction(kind), tmp_path / "a.nii")
    fixed = read_scan(tmp_path / "a.nii")
    assert len(fixed.notices) == 1
    write_scan(tmp_path / "b.nii", IMAGE * 2, fixed.grid, fixed)
    written = nib.load(tmp_path / "b.nii")
    np.testing.assert_allclose(written.affine, fixed.affine, rtol=1e-6)
    assert written.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(written.header.get_zooms(), fixed.grid.spacing, rtol=1e-5)
    _read_alike(tmp_path / "b.nii")


@pytest.mark.parametrize("unit", ["micron", "meter"])
def test_the_unit_of_length_is_that_of_simpleitk(unit: str, tmp_path: Path) -> None:
    nib.save(_contradiction(unit), tmp_path / "a.nii")
    image = sitk.ReadImage(str(tmp_path / "a.nii"))
    for index in [(0, 0, 0), (7, 2, 9)]:
        x, y, z = image.TransformIndexToPhysicalPoint(index)
        for source in (tmp_path / "a.nii", nib.load(tmp_path / "a.nii")):
            np.testing.assert_allclose(read_scan(source).affine @ [*index, 1], [-x, -y, z, 1], rtol=1e-5)


@pytest.mark.parametrize("codes", [(1, 1), (0, 2), (1, 0), (0, 0), (4, 3)])
def test_the_affine_of_the_like_comes_back_bit_for_bit(codes: tuple[int, int], tmp_path: Path) -> None:
    image = nib.Nifti1Image(IMAGE, OBLIQUE)
    image.set_qform(OBLIQUE, codes[0])
    image.set_sform(OBLIQUE, codes[1])
    image.header["descrip"] = b"Jane Doe, session 3"
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Jane Doe"))
    image.header.set_slope_inter(2.5, -1)
    nib.save(image, tmp_path / "a.nii.gz")
    like = read_scan(tmp_path / "a.nii.gz")
    nearly = like.grid._replace(affine=like.affine + 1e-7)  # as a computation may leave it
    write_scan(tmp_path / "b.nii.gz", IMAGE * 2, nearly, like)
    written, source = nib.load(tmp_path / "b.nii.gz"), nib.load(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(written.affine, source.affine)
    assert tuple(int(written.header[f"{key}_code"]) for key in ("qform", "sform")) == (codes if any(codes) else (2, 2))
    assert b"Jane" not in gzip.decompress((tmp_path / "b.nii.gz").read_bytes())  # the fixed image's
    _read_alike(tmp_path / "b.nii.gz")
    np.testing.assert_array_equal(np.asarray(written.dataobj), IMAGE * 2)
    in_memory = same_type(IMAGE * 2, nearly, like)
    np.testing.assert_array_equal(in_memory.affine, source.affine)
    np.testing.assert_array_equal(in_memory.get_fdata(), IMAGE * 2)


def test_a_like_on_another_grid_gives_no_header(tmp_path: Path) -> None:
    image = nib.Nifti1Image(IMAGE, OBLIQUE)
    image.header["descrip"] = b"of another grid"
    like = read_scan(image)
    write_scan(tmp_path / "a.nii.gz", IMAGE, GRID._replace(affine=np.diag([1.0, 2, 3, 1])), like)
    written = nib.load(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(written.affine, np.diag([1.0, 2, 3, 1]))
    assert bytes(written.header["descrip"].item()) == b""
    assert written.header.get_xyzt_units()[0] == "mm"


def test_the_time_between_volumes_is_kept(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.stack([IMAGE, -IMAGE], -1), OBLIQUE)
    image.header.set_zooms((*image.header.get_zooms()[:3], 1.5))
    nib.save(image, tmp_path / "a.nii.gz")
    like = read_series(tmp_path / "a.nii.gz")
    write_scan(tmp_path / "b.nii.gz", like.array, like.grid, like)
    assert nib.load(tmp_path / "b.nii.gz").header.get_zooms()[3] == 1.5


def test_a_path_of_any_format_gives_a_nibabel_image_back(tmp_path: Path) -> None:
    write_scan(tmp_path / "a.nrrd", IMAGE, GRID)
    scan = read_scan(str(tmp_path / "a.nrrd"))
    result = same_type(scan.array, scan.grid, scan)
    assert isinstance(result, nib.Nifti1Image)
    np.testing.assert_allclose(result.affine, OBLIQUE, atol=1e-12)


def test_a_dicom_like_writes_nrrd_and_an_itk_like_nifti(tmp_path: Path) -> None:
    image = itk.image_from_array(np.ascontiguousarray(IMAGE.T))
    like = read_scan(image)
    write_scan(tmp_path / "a.nii.gz", IMAGE, like.grid, like)
    assert nib.load(tmp_path / "a.nii.gz").affine.tolist() == np.diag([-1.0, -1, 1, 1]).tolist()


def test_labels_are_told_from_images(tmp_path: Path) -> None:
    labels = np.zeros((16, 16, 16), np.uint8)
    labels[2:9, 2:9, 2:9], labels[9:14, 2:9, 2:9] = 1, 2
    write_scan(tmp_path / "label.nii.gz", labels, GRID._replace(size=(16, 16, 16)))
    write_scan(tmp_path / "image.nii.gz", IMAGE, GRID)
    assert read_scan(tmp_path / "label.nii.gz", "moving label").is_label
    assert not read_scan(tmp_path / "image.nii.gz").is_label


@pytest.mark.parametrize("role", ["label", "moving label", "mask", "fixed mask"])
def test_constants_are_refused_as_images_only(role: str, tmp_path: Path) -> None:
    write_scan(tmp_path / "a.nii.gz", np.ones((8, 8, 8), np.uint8), GRID._replace(size=(8, 8, 8)))
    assert read_scan(tmp_path / "a.nii.gz", role).array.all()
    assert read_series(tmp_path / "a.nii.gz").array.all()
    with pytest.raises(DataError, match=r"^moving image .*a.nii.gz is constant \(1 everywhere\)"):
        read_scan(tmp_path / "a.nii.gz", "moving image")


def test_thin_slabs_are_refused_as_scans_only(tmp_path: Path) -> None:
    write_scan(tmp_path / "a.nii.gz", IMAGE[:, :, :2], GRID)
    assert read_series(tmp_path / "a.nii.gz").grid.size == (8, 9, 2)
    with pytest.raises(DataError, match=r"must have at least 8 voxels along each axis, got \(8, 9, 2\)"):
        read_scan(tmp_path / "a.nii.gz")


def test_no_voxels_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no voxel, its shape is \(8, 0, 10\)"):
        read_series(nib.Nifti1Image(IMAGE[:, :0], OBLIQUE))


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"^fixed image {tmp_path}/a.nii.gz does not exist; correct the path$"):
        read_scan(tmp_path / "a.nii.gz", "fixed image")
    os.symlink(tmp_path / "y.nii", tmp_path / "x.nii")
    os.symlink(tmp_path / "x.nii", tmp_path / "y.nii")
    os.symlink(tmp_path / "gone.mha", tmp_path / "z.mha")
    for name in ("x.nii", "z.mha"):
        with pytest.raises(
            DataError, match=rf"{name} does not exist \(a symbolic link that leads nowhere, or in a circle\)"
        ):
            read_scan(tmp_path / name)


@pytest.mark.parametrize("name", ["a.mhd", "a.png", "a", "a.gz", "a.nii.bz2"])
def test_endings_that_cannot_hold_a_scan_in_one_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=rf"{name} cannot be written: its name must end in one of .nii, .nii.gz, .nrrd, .mha"
    ):
        write_scan(tmp_path / name, IMAGE, GRID)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_folder_that_cannot_be_made(suffix: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=rf"file/out/a{suffix} cannot be written \(.*\); give a writable folder"):
        write_scan(tmp_path / "file" / "out" / f"a{suffix}", IMAGE, GRID)
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_missing_folders_are_made_and_old_results_replaced(suffix: str, tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / f"a{suffix}"
    write_scan(target, IMAGE, GRID)
    write_scan(target, -IMAGE, GRID)
    np.testing.assert_array_equal(read_scan(target).array, -IMAGE)
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_nothing_is_left_when_the_disk_fills_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(image: Any, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nib, "save", full)
    with pytest.raises(DataError, match=r"a.nii.gz cannot be written \(No space left on device\)"):
        write_scan(tmp_path / "a.nii.gz", IMAGE, GRID)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("missing", [1, 500])
def test_a_file_that_lacks_its_last_bytes_is_none(
    suffix: str, missing: int, full_disk: FullDisk, tmp_path: Path
) -> None:
    array = np.random.default_rng(0).random((30, 30, 30))
    path = tmp_path / f"a{suffix}"
    write_scan(path, array, Grid((30, 30, 30), np.eye(4)))
    size = path.stat().st_size
    path.write_text("old")
    with full_disk(size - missing), pytest.raises(DataError, match=rf"a{suffix} cannot be written \("):
        write_scan(path, array, Grid((30, 30, 30), np.eye(4)))
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
