from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from morphseek_monai.space.grid import corner_distance
from morphseek_monai.space.nifti_header import axis_codes, raw_header


def written(path: Path, kind: Any = nib.Nifti1Image) -> Any:
    nib.save(kind(np.zeros((4, 5, 6), np.uint8), np.diag([2.0, 3, 4, 1])), path)
    return nib.load(path)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_fields_of_a_sound_header(kind: Any, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    raw = raw_header(str(path), written(path, kind).header)
    assert raw == ((2.0, 3.0, 4.0), (0, 2), None, "unknown")


def test_a_spacing_of_zero_is_seen_before_nibabel_repairs_it(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    written(path)
    data = bytearray(path.read_bytes())
    data[84:88] = struct.pack("<f", 0)
    path.write_bytes(data)
    image: Any = nib.load(path)
    assert image.header.get_zooms() == (2, 1, 4)  # the repair
    assert raw_header(str(path), image.header).pixdim == (2, 0, 4)


@pytest.mark.parametrize(("shift", "apart"), [(0.0, 0.0), (6.0, 3.0)])
def test_distance_of_qform_and_sform(shift: float, apart: float, tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    image = written(path)
    moved = image.affine.copy()
    moved[0, 3] += shift
    image.set_sform(image.affine, 1)
    image.set_qform(moved, 1)
    nib.save(image, path)
    assert raw_header(str(path), nib.load(path).header).apart == pytest.approx(apart, abs=1e-5)


def test_a_quaternion_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    written(path)
    data = bytearray(path.read_bytes())
    data[252:256] = struct.pack("<hh", 1, 1)
    data[256:268] = struct.pack("<fff", 1, 1, 1)
    path.write_bytes(data)
    assert np.isnan(raw_header(str(path), nib.load(path).header).apart)


def test_other_formats_have_no_such_fields(tmp_path: Path) -> None:
    path = tmp_path / "a.mgz"
    nib.save(nib.MGHImage(np.zeros((4, 5, 6), np.uint8), np.eye(4)), path)
    assert raw_header(str(path), nib.load(path).header) == ((), (), None, "mm")


def test_corner_distance_counts_voxels_of_the_first() -> None:
    fine, coarse = np.diag([1.0, 1, 1, 1]), np.diag([2.0, 2, 2, 1])
    moved = fine + np.outer([1, 0, 0, 0], [0, 0, 0, 4.0])
    assert corner_distance(fine, moved, (5, 5, 5)) == 4
    assert corner_distance(coarse, coarse @ np.linalg.inv(fine) @ moved, (5, 5, 5)) == 4
    assert np.isnan(corner_distance(np.zeros((4, 4)), fine, (5, 5, 5)))


def test_axes_without_direction() -> None:
    assert axis_codes(np.diag([1.0, 0, 1, 1]))[1] == "?"
    assert axis_codes(np.full((4, 4), np.nan)) == "???"
