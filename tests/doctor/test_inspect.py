from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from morphseek_monai.doctor.inspect import inspect_file, inspect_subject


def save(path: Path, array: Any, affine: Any = None, slope: float | None = None) -> str:
    image: Any = nib.Nifti1Image(array, np.eye(4) if affine is None else affine)
    if slope is not None:
        image.header.set_slope_inter(slope, 0)
    nib.save(image, path)
    return str(path)


def test_equal_voxels_have_one_digest_however_they_are_stored(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 200, (5, 6, 7))
    digests = {
        inspect_file(save(tmp_path / f"{dtype}{suffix}", array.astype(dtype)), "image").digest
        for dtype in ("u1", ">i2", "<i4", "f4", "f8")
        for suffix in (".nii", ".nii.gz")
    }
    assert len(digests) == 1


def test_a_scaled_file_has_the_digest_of_its_values(tmp_path: Path) -> None:
    array = np.arange(60, dtype=np.float64).reshape(3, 4, 5) * 2
    plain = inspect_file(save(tmp_path / "plain.nii", array), "image")
    scaled = inspect_file(save(tmp_path / "scaled.nii", (array / 2).astype(np.int16), slope=2.0), "image")
    assert scaled.digest == plain.digest and scaled.high == plain.high == 118


@pytest.mark.parametrize("change", [lambda a: a[::-1], lambda a: a.reshape(6, 5, 7), lambda a: a + (a == a.max())])
def test_other_voxels_have_another_digest(change: Any, tmp_path: Path) -> None:
    array = np.random.default_rng(0).permutation(210).reshape(5, 6, 7).astype(np.int16)
    one, two = (inspect_file(save(tmp_path / f"{i}.nii", a), "image") for i, a in enumerate((array, change(array))))
    assert one.digest != two.digest


def test_values_beside_nan_and_infinity(tmp_path: Path) -> None:
    array = np.arange(27.0, dtype=np.float32).reshape(3, 3, 3)
    array[0, 0, :2] = np.nan, -np.inf
    report = inspect_file(save(tmp_path / "a.nii", array), "image")
    assert (report.not_finite, report.low, report.high) == (2, 2.0, 26.0)
    nothing = inspect_file(save(tmp_path / "b.nii", np.full((3, 3, 3), np.nan, np.float32)), "image")
    assert nothing.not_finite == 27 and np.isnan(nothing.low)


@pytest.mark.parametrize("dtype", ["u1", "i2", "f4", "f8", "u8"])
def test_ids_are_counted(dtype: str, tmp_path: Path) -> None:
    array = np.zeros((4, 4, 4), dtype)
    array[1], array[2, 2, 2] = 2, 77
    image: Any = nib.Nifti1Image(array, np.diag([2.0, 2, 5, 1]), dtype=array.dtype)
    nib.save(image, tmp_path / "a.nii.gz")
    report = inspect_file(str(tmp_path / "a.nii.gz"), "label")
    assert report.counts == {0: 47, 2: 16, 77: 1}
    assert report.volumes == pytest.approx({2: 16 * 20 / 1000, 77: 20 / 1000})
    assert report.slices == 2


@pytest.mark.parametrize("extreme", [(-4, 9), (-4, 3_000_000), (0, 2_000_000_000)])
def test_negative_and_huge_ids_are_counted(extreme: tuple[int, int], tmp_path: Path) -> None:
    array = np.zeros((3, 3, 3), np.int32)
    array[0, 0, :2] = extreme
    counts = inspect_file(save(tmp_path / "a.nii", array), "label").counts
    assert counts == {low: n for low, n in ((extreme[0], 1), (0, 25), (extreme[1], 1)) if low or n == 25} | (
        {0: 26} if extreme[0] == 0 else {}
    )


def test_geometry_is_that_of_the_file(tmp_path: Path) -> None:
    affine = np.array([[0, 0, 3.0, 5], [-1, 0, 0, 6], [0, 2, 0, 7], [0, 0, 0, 1]])
    report = inspect_file(save(tmp_path / "a.nii.gz", np.zeros((2, 3, 4), np.uint8), affine), "image")
    assert report.spacing == (1, 2, 3) and report.axes == "PSR" and report.shape == (2, 3, 4)
    assert np.array_equal(report.matrix, affine) and report.placed


def test_a_trailing_axis_of_one_is_no_fault(tmp_path: Path) -> None:
    report = inspect_file(save(tmp_path / "a.nii.gz", np.ones((2, 3, 4, 1), np.uint8)), "image")
    assert report.shape == (2, 3, 4) and not report.error


def test_a_subject_is_read_past_a_broken_file(tmp_path: Path) -> None:
    image = save(tmp_path / "T_0001_0002.nii.gz", np.ones((2, 3, 4), np.uint8))
    (tmp_path / "label.nii.gz").write_bytes(b"")
    subject = {"image": image, "label": str(tmp_path / "label.nii.gz"), "mask": str(tmp_path / "none.nii.gz")}
    report = inspect_subject(subject, ("validation",))
    assert (report.id, report.subject, report.modality, report.sides) == (
        "T_0001_0002",
        "T_0001",
        "0002",
        ("validation",),
    )
    errors = [file.error for file in report.files()]
    assert errors[0] == "" and "0 bytes" in errors[1] and "does not exist" in errors[2]


def test_other_formats_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.nrrd").write_text("NRRD0004")
    report = inspect_file(str(tmp_path / "a.nrrd"), "image")
    assert report.error.startswith("image ") and "\n" not in report.error and "give a NIfTI file" in report.error
