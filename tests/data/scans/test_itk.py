from __future__ import annotations

import locale
from pathlib import Path
from typing import Any

import itk
import numpy as np
import pytest
import SimpleITK as sitk

from morphseek_monai.data import DataError
from morphseek_monai.data.scans.scan import read_scan, read_series, write_scan
from morphseek_monai.space.grid import Grid

VALUES = np.random.default_rng(0).integers(0, 100, (8, 9, 10))
DIRECTION = (0.6, -0.8, 0.0, 0.8, 0.6, 0.0, 0.0, 0.0, -1.0)


def write(path: Path, values: Any = VALUES, dtype: Any = np.int16, compress: bool = False) -> Path:
    """``(X, Y, Z)`` by SimpleITK, oblique, with unequal spacing."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(np.asarray(values, dtype).T), isVector=False)
    if image.GetDimension() == 3:
        image.SetSpacing((0.8, 1.2, 2.5))
        image.SetOrigin((10.0, -20.0, 30.0))
        image.SetDirection(DIRECTION)
    sitk.WriteImage(image, str(path), compress)
    return path


@pytest.mark.parametrize("suffix", [".nrrd", ".nhdr", ".mha", ".mhd", ".gipl", ".vtk"])
def test_a_bright_voxel_lies_where_simpleitk_says(suffix: str, tmp_path: Path) -> None:
    values = VALUES.copy()
    values[5, 1, 7] = 1000
    path = write(tmp_path / f"a{suffix}", values)
    before = locale.setlocale(locale.LC_ALL)
    scan = read_scan(path)
    assert locale.setlocale(locale.LC_ALL) == before  # ITK's VTK reader changes it
    np.testing.assert_array_equal(scan.array, values)
    image = sitk.ReadImage(str(path))
    x, y, z = image.TransformIndexToPhysicalPoint((5, 1, 7))
    index = np.unravel_index(scan.array.argmax(), scan.array.shape)
    np.testing.assert_allclose(scan.affine @ [*index, 1], [-x, -y, z, 1], atol=1e-5)


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_every_type(dtype: str, suffix: str, tmp_path: Path) -> None:
    values = VALUES - 50 * (dtype[0] == "i")
    scan = read_scan(write(tmp_path / f"a{suffix}", values, np.dtype(dtype)))
    assert scan.array.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(scan.array, values)


def test_compressed_files(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_scan(write(tmp_path / "a.nrrd", compress=True)).array, VALUES)


def test_four_dimensions(tmp_path: Path) -> None:
    series = np.stack([VALUES, VALUES + 100], -1)
    path = write(tmp_path / "a.nrrd", series)
    np.testing.assert_array_equal(read_series(path).array, series)
    np.testing.assert_array_equal(read_scan(path, frame=1).array, VALUES + 100)
    with pytest.raises(DataError, match=r"image .*a.nrrd has shape \(8, 9, 10, 2\); pick a volume with --frame"):
        read_scan(path)


@pytest.mark.parametrize("frame", [None, 0])
def test_vectors_and_colour_have_no_frame(frame: int | None, tmp_path: Path) -> None:
    vectors = sitk.GetImageFromArray(np.zeros((10, 9, 8, 3)), isVector=True)
    sitk.WriteImage(vectors, str(tmp_path / "a.nrrd"))
    with pytest.raises(DataError, match=r"a.nrrd holds RGB or vectors \(3 numbers per voxel\), of which no frame"):
        read_scan(tmp_path / "a.nrrd", frame=frame)


def test_two_dimensions_and_single_slices_are_refused(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((9, 8), np.uint8)), str(tmp_path / "a.png"))
    with pytest.raises(DataError, match=r"a.png is two-dimensional, its shape is \(8, 9\); give the whole volume"):
        read_scan(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"b.mha is a single slice, its shape is \(8, 9, 1\)"):
        read_scan(write(tmp_path / "b.mha", VALUES[:, :, :1]))


def test_a_sheared_nrrd_is_read_and_told(tmp_path: Path) -> None:
    affine = np.array([[1.0, 0.2, 0, 3], [0, 1.5, 0, 4], [0, 0, 2.0, 5], [0, 0, 0, 1]])
    write_scan(tmp_path / "a.nrrd", VALUES.astype(np.int16), Grid((8, 9, 10), affine))
    scan = read_scan(tmp_path / "a.nrrd")
    np.testing.assert_allclose(scan.affine, affine, atol=1e-9)
    (notice,) = scan.notices
    assert "its first and second axis are 82.4 degrees apart" in notice


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize("compress", [False, True])
def test_truncated_files(suffix: str, compress: bool, tmp_path: Path) -> None:
    path = write(tmp_path / f"a{suffix}", compress=compress)
    path.write_bytes(path.read_bytes()[:-700])
    with pytest.raises(DataError, match=f"^image {path} cannot be read .*; copy it again, or give NIfTI") as caught:
        read_scan(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.nrrd", b"", r"is empty \(0 bytes\)"),
        ("a.nrrd", b"NRRD0004\nrubbish\n\n", "cannot be read"),
        ("a.txt", b"hello", "cannot be read .no image format that ITK knows.; .*give NIfTI, NRRD, MetaImage or"),
        ("a", b"hello" * 99, "cannot be read .no image format that ITK knows"),
        ("a.dcm", bytes(128) + b"DICM", "cannot be read"),
    ],
)
def test_what_is_no_image(name: str, content: bytes, message: str, tmp_path: Path, capfd: Any) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"^fixed image {tmp_path}/{name} {message}") as caught:
        read_scan(tmp_path / name, "fixed image")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_warnings_are_shown_again_afterwards(tmp_path: Path) -> None:
    read_scan(write(tmp_path / "a.nrrd"))
    assert itk.Object.GetGlobalWarningDisplay()


def test_nan_spacing_of_a_header(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mha")
    path.write_bytes(path.read_bytes().replace(b"ElementSpacing = 0.8", b"ElementSpacing = nan"))
    with pytest.raises(DataError, match=r"a.mha (has NaN or infinity in its affine|cannot be read)"):
        read_scan(path)


def test_nothing_is_left_of_a_file_that_itk_cannot_finish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(image: Any, path: str, **kwargs: Any) -> None:
        Path(path).write_bytes(b"half")
        raise RuntimeError("first line\nNo space left on device")

    grid = read_scan(write(tmp_path / "in.mha")).grid
    (tmp_path / "out.nrrd").write_bytes(b"old")
    monkeypatch.setattr(itk, "imwrite", full)
    with pytest.raises(DataError, match=r"out.nrrd cannot be written \(No space left on device\)"):
        write_scan(tmp_path / "out.nrrd", VALUES, grid)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mha", "out.nrrd"]
    assert (tmp_path / "out.nrrd").read_bytes() == b"old"
