from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from morphseek_monai.data import DataError
from morphseek_monai.data.scans.stored import StoredImage, read_stored, require_same_grid, write_like

OBLIQUE = np.array([[0.0, -1.9, 0.3, 12.0], [1.2, 0.0, 0.1, -7.0], [0.1, 0.4, 2.9, 90.0], [0, 0, 0, 1]])


def native(tmp_path: Path, affine: np.ndarray, shape: tuple[int, ...] = (4, 5, 6), name: str = "a") -> StoredImage:
    path = tmp_path / f"{name}.nii.gz"
    nib.save(nib.Nifti1Image(np.arange(np.prod(shape)).reshape(shape).astype(np.int16), affine), path)
    return read_stored(str(path))


def test_round_off_of_a_header_is_no_difference(tmp_path: Path) -> None:
    shifted = OBLIQUE.copy()
    shifted[:3, 3] += 1e-4  # mm, well under 1e-4 of these voxels after the solve
    require_same_grid(native(tmp_path, OBLIQUE), native(tmp_path, shifted, name="b"))


@pytest.mark.parametrize("where", [(0, 3), (1, 0), (2, 2)])
def test_another_grid_is_refused_with_the_distance_in_voxels(tmp_path: Path, where: tuple[int, int]) -> None:
    other = OBLIQUE.copy()
    other[where] += 0.5
    with pytest.raises(
        DataError, match=r"moving .*b.nii.gz lies on another grid .* up to [\d.]+ voxels apart; resample"
    ):
        require_same_grid(native(tmp_path, OBLIQUE), native(tmp_path, other, name="b"))


def test_a_shift_of_one_voxel_is_told_as_one_voxel(tmp_path: Path) -> None:
    other = OBLIQUE.copy()
    other[:3, 3] += OBLIQUE[:3, 0]
    with pytest.raises(DataError, match="up to 1 voxels apart"):
        require_same_grid(native(tmp_path, OBLIQUE), native(tmp_path, other, name="b"))


def test_another_shape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has shape \(4, 5, 7\) but fixed .* has \(4, 5, 6\)"):
        require_same_grid(native(tmp_path, OBLIQUE), native(tmp_path, OBLIQUE, (4, 5, 7), "b"))


def test_trailing_axis_is_dropped_and_series_refused(tmp_path: Path) -> None:
    assert native(tmp_path, OBLIQUE, (4, 5, 6, 1)).array.shape == (4, 5, 6)
    with pytest.raises(DataError, match=r"must be one 3-D volume, got shape \(4, 5, 6, 2\)"):
        native(tmp_path, OBLIQUE, (4, 5, 6, 2))


def test_unreadable_file_says_why(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(b"")
    with pytest.raises(DataError, match=r"moving image .*a\.nii\.gz is empty \(0 bytes\)"):
        read_stored(str(tmp_path / "a.nii.gz"), "moving image")
    (tmp_path / "a.nii").write_bytes(b"not an image" * 99)
    with pytest.raises(DataError, match=r"a\.nii cannot be read .*give a NIfTI file"):
        read_stored(str(tmp_path / "a.nii"))


def test_write_like_keeps_the_grid_and_drops_the_scaling(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), OBLIQUE)
    image.header.set_slope_inter(2.5, -1024)
    image.header["cal_max"] = 4000
    image.set_sform(OBLIQUE, code=4)
    nib.save(image, tmp_path / "a.nii.gz")
    values = np.linspace(-1, 1, 120, dtype=np.float32).reshape(4, 5, 6)
    write_like(tmp_path / "b.nii.gz", values, read_stored(str(tmp_path / "a.nii.gz")))
    written = nib.load(tmp_path / "b.nii.gz")
    np.testing.assert_array_equal(written.affine, nib.load(tmp_path / "a.nii.gz").affine)
    assert int(written.header["sform_code"]) == 4
    assert written.get_data_dtype() == np.float32
    np.testing.assert_array_equal(np.asarray(written.dataobj), values)
    assert float(written.header["cal_max"]) == 0
