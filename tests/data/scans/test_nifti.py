from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from morphseek_monai.data import DataError
from morphseek_monai.data.scans.scan import Scan, read_scan, read_series

ROTATED = np.array([[0.6, -1.6, 0.0, 11.0], [0.8, 1.2, 0.0, -22.0], [0.0, 0.0, 3.0, 33.0], [0, 0, 0, 1]])
SHAPE = (8, 9, 10)
VALUES = np.random.default_rng(0).integers(0, 250, SHAPE)
# byte offsets in a NIfTI-1 header
PIXDIM, QFORM_CODE, QUATERN, SROW = 76, 252, 256, 280


def save(path: Path, values: Any = VALUES, affine: Any = ROTATED, dtype: Any = np.int16, slope: Any = None) -> Path:
    image = nib.Nifti1Image(np.asarray(values).astype(dtype), affine)
    if slope:
        image.header.set_slope_inter(*slope)
    nib.save(image, path)
    return path


def patch(path: Path, offset: int, fmt: str, *values: float) -> Path:
    data = bytearray(path.read_bytes())
    struct.pack_into(f"<{fmt}", data, offset, *values)
    path.write_bytes(data)
    return path


def by_simpleitk(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path))).transpose()


@pytest.mark.parametrize("dtype", ["u1", "i1", "<i2", ">i2", "u2", ">i4", "<f4", ">f8"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_every_type_and_byte_order(dtype: str, suffix: str, tmp_path: Path) -> None:
    values = (VALUES // 2).astype(dtype)
    header = nib.Nifti1Header(endianness=">" if dtype[0] == ">" else "<")
    header.set_data_dtype(values.dtype)
    nib.save(nib.Nifti1Image(values, ROTATED, header), tmp_path / f"a{suffix}")
    scan = read_scan(tmp_path / f"a{suffix}")
    assert scan.array.dtype == values.dtype.newbyteorder("=") and scan.array.dtype.isnative
    np.testing.assert_array_equal(scan.array, values)
    np.testing.assert_array_equal(scan.array, by_simpleitk(tmp_path / f"a{suffix}"))
    assert scan.notices == ()


def test_slope_and_intercept_are_applied_in_single_precision(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz", slope=(2.5, -1024))
    raw = nib.load(path).dataobj.get_unscaled()
    scan = read_scan(path)
    assert scan.array.dtype == np.float32
    np.testing.assert_allclose(scan.array, raw * 2.5 - 1024)
    np.testing.assert_allclose(scan.array, by_simpleitk(path))


@pytest.mark.parametrize("in_memory", [False, True])
def test_one_volume_of_a_scaled_series(in_memory: bool, tmp_path: Path) -> None:
    series = np.stack([VALUES, VALUES + 100, VALUES + 200], -1)
    path = save(tmp_path / "a.nii.gz", series, slope=(0.5, 10))
    source: Any = nib.load(path) if in_memory else str(path)
    expected = np.asarray(nib.load(path).dataobj)
    np.testing.assert_allclose(read_scan(source, frame=2).array, expected[..., 2])
    np.testing.assert_allclose(read_series(source).array, expected)
    with pytest.raises(DataError, match=r"image .*a.nii.gz has shape \(8, 9, 10, 3\); pick a volume with --frame"):
        read_scan(source)


def test_a_trailing_axis_of_one_is_accepted(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz", VALUES[..., None])
    np.testing.assert_array_equal(read_scan(path).array, VALUES)
    assert read_series(path).array.shape == SHAPE


def test_colour_and_vectors_have_no_frame(tmp_path: Path) -> None:
    colour = np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(colour, ROTATED), tmp_path / "rgb.nii.gz")
    for frame in (None, 0):
        with pytest.raises(DataError, match="rgb.nii.gz holds RGB or vectors, of which no frame can be picked"):
            read_scan(tmp_path / "rgb.nii.gz", frame=frame)
    path = save(tmp_path / "field.nii.gz", np.zeros((*SHAPE, 1, 3)), dtype=np.float32)
    with pytest.raises(DataError, match=r"holds vectors or several series, its shape is \(8, 9, 10, 1, 3\)"):
        read_scan(path, frame=0)


def test_position_is_that_of_itk(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz")
    x, y, z = sitk.ReadImage(str(path)).TransformIndexToPhysicalPoint((5, 1, 7))
    np.testing.assert_allclose(read_scan(path).affine @ [5, 1, 7, 1], [-x, -y, z, 1], atol=1e-4)


def test_a_sheared_header_is_taken_with_a_notice_though_itk_refuses_it(tmp_path: Path) -> None:
    affine = ROTATED.copy()
    affine[0, 2] = 0.5
    path = save(tmp_path / "a.nii.gz", affine=affine)
    with pytest.raises(RuntimeError, match="orthonormal"):
        sitk.ReadImage(str(path))
    scan = read_scan(path, "fixed image")
    np.testing.assert_allclose(scan.affine, affine, atol=1e-6)
    (notice,) = scan.notices
    assert notice.startswith(f"fixed image {path}: its ") and "(sheared grid)" in notice


@pytest.mark.parametrize(("value", "said"), [(0.0, "0"), (-2.0, "-2"), (np.nan, "nan"), (np.inf, "inf")])
def test_a_spacing_that_is_none_is_refused_by_name(value: float, said: str, tmp_path: Path) -> None:
    path = patch(save(tmp_path / "a.nii"), PIXDIM + 8, "f", value)
    with pytest.raises(DataError, match=rf"a.nii has spacing {said} along its second axis \(pixdim\); repair"):
        read_scan(path)


def test_a_flat_or_broken_sform_is_refused_by_name(tmp_path: Path) -> None:
    flat = patch(save(tmp_path / "a.nii"), SROW + 16, "4f", *ROTATED[0])  # second row as the first
    with pytest.raises(DataError, match=r"a.nii has a singular sform"):
        read_scan(flat)
    broken = patch(save(tmp_path / "b.nii"), SROW, "f", np.nan)
    with pytest.raises(DataError, match=r"b.nii has NaN or infinity in its sform; repair the header"):
        read_scan(broken)


def test_a_header_without_orientation_is_told(tmp_path: Path) -> None:
    path = patch(save(tmp_path / "a.nii"), QFORM_CODE, "hh", 0, 0)
    scan = read_scan(path, "moving image")
    (notice,) = scan.notices
    assert notice.startswith(f"moving image {path}: its header says no orientation (qform and sform codes are 0)")
    np.testing.assert_allclose(scan.grid.centre, 0, atol=1e-5)
    assert scan.affine[0, 0] < 0  # as the notice says


@pytest.mark.parametrize("in_memory", [False, True])
@pytest.mark.parametrize(("shift", "told"), [(0.05, False), (6.0, True)])
def test_qform_and_sform_that_disagree(in_memory: bool, shift: float, told: bool, tmp_path: Path) -> None:
    image = nib.Nifti1Image(VALUES.astype(np.int16), np.diag([2.0, 2, 3, 1]))
    moved = image.affine.copy()
    moved[0, 3] += shift
    image.set_sform(image.affine, 1)
    image.set_qform(moved, 1)
    nib.save(image, tmp_path / "a.nii")
    scan = read_scan(image if in_memory else tmp_path / "a.nii")
    np.testing.assert_array_equal(scan.affine, np.diag([2.0, 2, 3, 1]))
    assert [("3 voxels apart; the sform is used" in notice) for notice in scan.notices] == [True] * told


def test_a_qform_that_is_none_beside_a_good_sform(tmp_path: Path) -> None:
    path = patch(save(tmp_path / "a.nii"), QFORM_CODE, "hh", 1, 1)
    patch(path, QUATERN, "3f", 1, 1, 1)
    (notice,) = read_scan(path).notices
    assert "qform and sform of its header contradict each other; the sform is used" in notice


def test_other_units_are_told(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VALUES.astype(np.int16), ROTATED)
    image.header.set_xyzt_units("micron")
    nib.save(image, tmp_path / "a.nii")
    (notice,) = read_scan(tmp_path / "a.nii").notices
    assert notice == f"image {tmp_path}/a.nii: its header counts in microns; turned into mm"


@pytest.mark.parametrize("in_memory", [False, True])
def test_a_pixdim_beside_another_sform_is_told(in_memory: bool, tmp_path: Path) -> None:
    image = nib.Nifti1Image(VALUES.astype(np.int16), np.diag([2.0, 2, 3, 1]))
    image.header["pixdim"][1:4] = [1, 2, 3]
    nib.save(image, tmp_path / "a.nii")
    assert nib.load(tmp_path / "a.nii").header.get_zooms() == (1, 2, 3)
    (notice,) = read_scan(image if in_memory else tmp_path / "a.nii").notices
    told = "its pixdim says voxels of 1 x 2 x 3, its sform 2 x 2 x 3; the sform is used, ITK takes pixdim"
    assert notice.endswith(told)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.nii.gz", b"", r"is empty \(0 bytes\); copy it again"),
        ("a.nii", b"", r"is empty \(0 bytes\)"),
        ("a.nii.gz", "nii", "is not gzip-compressed although its name ends in .gz"),
        ("a.nii", "gz", "is gzip-compressed although its name ends in .nii; rename it to .nii.gz"),
        ("a.nii.gz", "half", "is truncated or damaged"),
        ("a.nii", "half nii", "cannot be read .*; copy it again, or correct the ending of its name"),
        ("a.nii", b"NRRD0004\ntype: short\n" + bytes(900), "cannot be read .*; copy it again, or correct the ending"),
    ],
)
def test_damaged_files_and_wrong_names(name: str, content: Any, message: str, tmp_path: Path) -> None:
    gz, nii = save(tmp_path / "sound.nii.gz").read_bytes(), save(tmp_path / "sound.nii").read_bytes()
    made = {"nii": nii, "gz": gz, "half": gz[: len(gz) // 2], "half nii": nii[: len(nii) // 2]}
    (tmp_path / name).write_bytes(made.get(content, content))
    with pytest.raises(DataError, match=f"^moving image {tmp_path}/{name} {message}") as caught:
        read_scan(tmp_path / name, "moving image")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_cut_after_the_header_was_read(tmp_path: Path) -> None:
    image = nib.load(save(tmp_path / "a.nii.gz"))
    (tmp_path / "a.nii.gz").write_bytes((tmp_path / "a.nii.gz").read_bytes()[:400])
    with pytest.raises(DataError, match="is truncated or damaged"):
        read_scan(image)


def test_other_formats_of_nibabel(tmp_path: Path) -> None:
    nib.save(nib.MGHImage(VALUES.astype(np.int16), ROTATED.astype(np.float32)), tmp_path / "a.mgz")
    scan = read_scan(tmp_path / "a.mgz")
    np.testing.assert_array_equal(scan.array, VALUES)
    np.testing.assert_allclose(scan.affine, ROTATED, atol=1e-5)
    surface = nib.GiftiImage()
    nib.save(surface, tmp_path / "a.gii")
    (tmp_path / "a.gii").rename(tmp_path / "b.nii")
    with pytest.raises(DataError, match="b.nii cannot be read"):
        read_scan(tmp_path / "b.nii")


def test_the_file_may_go_once_it_is_read(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii")
    scan: Scan = read_scan(path)
    with open(path, "r+b") as stream:  # in place, as a memory map would see it
        stream.seek(352)
        stream.write(bytes(VALUES.size * 2))
    np.testing.assert_array_equal(scan.array, VALUES)
