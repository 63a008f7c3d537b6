"""The 24 faults that a registration tool must survive, each planted into a healthy pair.

Here are those of images and headers, 1 to 11; those of types, files, weights and memory, 14 to 24, are in
test_register_faults_files.py. The numbers are part of the tests' names. Faults that registering cannot meet are tested
where they arise:

== ============================================== ===================================================================
no fault                                          where
== ============================================== ===================================================================
12 empty masks, masks of one slice                ``register`` takes no mask; in training
                                                  tests/data/pairs/test_requirements.py and
                                                  tests/losses/test_lncc.py, test_mind.py, test_masked.py
13 labels that are absent in fixed or moving      tests/apps/test_evaluate.py, tests/metrics/test_registration_dice.py,
                                                  tests/losses/test_soft_dice.py
18 killed while writing a checkpoint              tests/handlers/test_checkpoint.py, tests/engines/test_kill.py;
                                                  a killed batch: tests/apps/test_batch.py
21 losses that are not finite                     tests/engines/test_not_finite.py; weights that are not: here
23 workers that crash or draw the same noise      tests/data/test_loading.py, test_pairs.py,
                                                  tests/engines/test_trainer.py; samples that differ:
                                                  tests/registration/test_search.py
== ============================================== ===================================================================

Faults of reading are tested in all their variants in tests/data/test_scan*.py; here is what the program makes of them.
Faults of training data (1, 10, 13, 14, 24) are also found by ``morphseek check-data``, see test_check_data_faults.py.
"""

from __future__ import annotations

import gzip
import json
import re
import struct
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from .register_runs import Pair

FILES = ["inverse.h5", "jacobian.nii.gz", "result.json", "transform.h5", "warped.nii.gz"]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(tmp_path_factory.mktemp("faults"))


def notices(out: Path) -> list[str]:
    return list(json.loads((out / "result.json").read_text())["notices"])


def similarity(out: Path) -> float:
    return float(json.loads((out / "result.json").read_text())["metrics"]["after"]["similarity"])


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


# 1
@pytest.mark.parametrize("role", ["fixed", "moving"])
def test_fault_01_nan_and_infinity_become_background_and_are_counted(role: str, pair: Pair, tmp_path: Path) -> None:
    array = pair.arrays[role].astype(np.float32)
    array[:2, :2, :3], array[0, 0, 5] = np.nan, np.inf
    file = pair.write(array)
    outcome = pair.run(tmp_path, **{role: file})
    line = f"{role} image {file}: 13 NaN or infinite voxels lie outside of it"
    assert outcome.code == 0 and f"notice: {line}\n" in outcome.out and line in notices(tmp_path)
    assert np.isfinite(nib.load(tmp_path / "warped.nii.gz").get_fdata()).all()
    assert pair.differs(tmp_path).max() < 0.2  # mm, of voxels of 4


def test_fault_01_nothing_but_nan(pair: Pair, tmp_path: Path) -> None:
    file = pair.write(np.full_like(pair.arrays["fixed"], np.nan, dtype=np.float32))
    error = pair.run(tmp_path, moving=file).error
    assert error == f"moving image {file} has only NaN or infinite voxels; write it again"


# 2
def test_fault_02_series_need_a_frame(pair: Pair, tmp_path: Path) -> None:
    file = pair.write(np.stack([np.zeros_like(pair.arrays["moving"]), pair.arrays["moving"]] * 2, axis=-1))
    error = pair.run(tmp_path, moving=file).error
    assert error == f"moving image {file} has shape (48, 48, 48, 4); pick a volume with --frame (0 to 3)"
    assert "must be 0 to 3, got 4" in pair.run(tmp_path, "--moving_frame", 4, moving=file).error
    assert pair.run(tmp_path, "--moving_frame", 3, moving=file).code == 0
    assert pair.is_the_clean_result(tmp_path)


def test_fault_02_colour_and_vectors_are_no_image(pair: Pair, tmp_path: Path) -> None:
    colour = np.zeros((48, 48, 48), dtype=[(name, "u1") for name in "RGB"])
    vectors = np.stack([pair.arrays["moving"]] * 3, axis=-1)[:, :, :, None]
    for array in (colour, vectors):
        error = pair.run(tmp_path, fixed=pair.write(array)).error
        assert "of which no frame can be picked; give an image of one real number per voxel" in error


# 3
def test_fault_03_a_trailing_axis_of_one_is_none(pair: Pair, tmp_path: Path) -> None:
    files = {role: pair.write(pair.arrays[role][..., None], path=tmp_path / f"{role}.nii.gz") for role in pair.files}
    outcome = pair.run(tmp_path / "out", **files)
    assert outcome.code == 0 and outcome.out.count("notice") == outcome.out.count("notice: the network's weights") == 1
    assert pair.is_the_clean_result(tmp_path / "out")


# 4
def test_fault_04_different_grids(pair: Pair, tmp_path: Path) -> None:
    fixed_affine = np.array([[0, 0, -3.5, 84], [-5.0, 0, 0, 93], [0, 4.2, 0, -95], [0, 0, 0, 1]])  # PSL
    moving_affine = np.array([[3.1, 0.4, 0, -124], [-0.4, 3.1, 0, -94], [0, 0, 6.5, -100], [0, 0, 0, 1]])
    fixed = pair.recut("fixed", (38, 46, 50), fixed_affine, tmp_path / "fixed.nii.gz")
    moving = pair.recut("moving", (74, 72, 32), moving_affine, tmp_path / "moving.nii.gz")
    assert pair.run(tmp_path / "out", fixed=fixed, moving=moving).code == 0
    warped: Any = nib.load(tmp_path / "out/warped.nii.gz")
    assert warped.shape == (38, 46, 50) and np.array_equal(warped.affine, nib.load(fixed).affine)
    # resampled once from its own grid, as SimpleITK does it with the transform that was written
    images = [sitk.ReadImage(str(path)) for path in (moving, fixed)]
    transform = sitk.ReadTransform(str(tmp_path / "out/transform.h5"))
    expected = sitk.GetArrayFromImage(sitk.Resample(*images, transform, sitk.sitkLinear, 0.0)).transpose(2, 1, 0)
    assert np.abs(warped.get_fdata() - expected).max() < 1e-3 * np.ptp(expected)
    # one subject on both grids is at one place
    assert pair.run(tmp_path / "same", fixed=fixed, moving=pair.files["fixed"]).code == 0
    assert pair.moved(tmp_path / "same") < 1


# 5
def test_fault_05_headers_that_differ_by_round_off(pair: Pair, tmp_path: Path) -> None:
    nearly = pair.affine.copy()
    nearly[:3] += np.random.default_rng(0).uniform(-1, 1, (3, 4)) * 4e-5 / 48  # of 4 mm
    file = pair.write(pair.arrays["fixed"], nearly)
    outcome = pair.run(tmp_path / "same", moving=file)
    assert outcome.code == 0 and "fixed and moving are the same image, voxel by voxel" in outcome.out
    assert pair.run(tmp_path / "other", fixed=file).code == 0
    assert pair.differs(tmp_path / "other").max() < 1e-3
    warped: Any = nib.load(tmp_path / "other/warped.nii.gz")
    assert np.array_equal(warped.affine, nib.load(file).affine) and not np.array_equal(warped.affine, pair.affine)


def test_fault_05_a_real_difference_is_none_of_round_off(pair: Pair, tmp_path: Path) -> None:
    shifted = pair.affine.copy()
    shifted[0, 3] += 0.5
    outcome = pair.run(tmp_path, moving=pair.write(pair.arrays["fixed"], shifted))
    assert outcome.code == 0 and "same image" not in outcome.out


# 6
def test_fault_06_sheared_grids(pair: Pair, tmp_path: Path) -> None:
    shear = np.eye(4)
    shear[0, 1], shear[0, 3] = 0.2, -0.2 * 23.5
    affine = pair.affine @ shear
    file = pair.recut("fixed", (48, 48, 48), affine, tmp_path / "sheared.nii.gz")
    outcome = pair.run(tmp_path, fixed=file)
    assert outcome.code == 0
    assert f"fixed image {file}: its first and second axis are 78.7 degrees apart (sheared grid)" in outcome.out
    assert pair.run(tmp_path / "same", fixed=file, moving=pair.files["fixed"]).code == 0
    assert pair.moved(tmp_path / "same") < 1
    # ITK refuses the image, but the transform leads every program to the same places
    transform = sitk.ReadTransform(str(tmp_path / "transform.h5"))
    flip = np.array([-1.0, -1, 1])
    foreign = np.array([transform.TransformPoint(point) for point in (pair.points * flip).tolist()]) * flip
    np.testing.assert_allclose(foreign - pair.points, pair.displacements(tmp_path), atol=1e-3)
    warped: Any = nib.load(tmp_path / "warped.nii.gz")
    assert np.array_equal(warped.affine, nib.load(file).affine)


# 7
@pytest.mark.parametrize(
    ("offset", "packed", "message"),
    [
        (80, struct.pack("<f", 0.0), "has spacing 0 along its first axis (pixdim); repair the header"),
        (84, struct.pack("<f", -4.0), "has spacing -4 along its second axis (pixdim); repair the header"),
        (88, struct.pack("<f", float("nan")), "has spacing nan along its third axis (pixdim); repair the header"),
        (280, struct.pack("<4f", 0, 0, 0, 0), "sform"),
        (296, struct.pack("<f", float("inf")), "has NaN or infinity in its sform; repair the header"),
    ],
)
@pytest.mark.parametrize("role", ["fixed", "moving"])
def test_fault_07_headers_that_place_nothing(
    role: str, offset: int, packed: bytes, message: str, pair: Pair, tmp_path: Path
) -> None:
    file = pair.patch(offset, packed, role)
    error = pair.run(tmp_path, **{role: file}).error
    assert error.startswith(f"{role} image {file} has ") and message in error


def test_fault_07_the_field_that_is_used_is_told(pair: Pair, tmp_path: Path) -> None:
    unplaced = pair.patch(252, struct.pack("<2h", 0, 0))  # qform_code, sform_code
    assert "its header says no orientation (qform and sform codes are 0)" in pair.run(tmp_path, fixed=unplaced).out
    elsewhere = pair.patch(268, struct.pack("<3f", 10, 20, 30))  # the place in the qform
    data = bytearray(gzip.decompress(elsewhere.read_bytes()))
    data[252:256] = struct.pack("<2h", 1, 1)
    elsewhere.write_bytes(gzip.compress(bytes(data)))
    outcome = pair.run(tmp_path / "other", fixed=elsewhere)
    assert "qform and sform of its header are up to" in outcome.out and "the sform is used" in outcome.out
    assert pair.differs(tmp_path / "other").max() < 1e-6


# 8
@pytest.mark.parametrize(
    ("slices", "message"),
    [
        (1, "is a single slice, its shape is (48, 48, 1)"),
        (7, "must have at least 8 voxels along each axis, got (48, 48, 7)"),
    ],
)
@pytest.mark.parametrize("role", ["fixed", "moving"])
def test_fault_08_slices_are_refused(role: str, slices: int, message: str, pair: Pair, tmp_path: Path) -> None:
    file = pair.write(pair.arrays[role][:, :, 20 : 20 + slices].copy())
    error = pair.run(tmp_path, **{role: file}).error
    assert error.startswith(f"{role} image {file} {message}") and error.endswith(("give a larger volume", "series)"))


def test_fault_08_the_thinnest_slab_comes_through(pair: Pair, tmp_path: Path) -> None:
    affine = pair.affine.copy()
    affine[2, 3] += 20 * 4
    outcome = pair.run(tmp_path, fixed=pair.write(pair.arrays["fixed"][:, :, 20:28].copy(), affine))
    assert outcome.code in (0, 3, 1) and outcome.err == ""
    assert files_in(tmp_path) == FILES and np.isfinite(nib.load(tmp_path / "warped.nii.gz").get_fdata()).all()


# 9
@pytest.mark.parametrize(("first", "last"), [((1, 0, 3), (46, 47, 46)), ((0, 2, 0), (48, 47, 41))])
def test_fault_09_sizes_that_no_network_likes(first: Any, last: Any, pair: Pair, tmp_path: Path) -> None:
    cut = tuple(slice(*ends) for ends in zip(first, last))
    affine = pair.affine.copy()
    affine[:3, 3] += 4 * np.array(first)
    array = pair.arrays["fixed"][cut].copy()
    assert pair.run(tmp_path, fixed=pair.write(array, affine)).code == 0
    warped: Any = nib.load(tmp_path / "warped.nii.gz")
    assert warped.shape == array.shape and np.array_equal(warped.affine, affine)
    assert similarity(tmp_path) > similarity(pair.clean) - 0.1  # the network's grid lies half a voxel off


# 10
@pytest.mark.parametrize("role", ["fixed", "moving"])
@pytest.mark.parametrize("value", [0, 3])
def test_fault_10_constant_images_stop_it(role: str, value: int, pair: Pair, tmp_path: Path) -> None:
    file = pair.write(np.full_like(pair.arrays[role], value))
    error = pair.run(tmp_path, **{role: file}).error
    assert error.startswith(f"{role} image {file} is constant ({value} everywhere): there is nothing to register; give")


def test_fault_10_constant_but_for_a_speck(pair: Pair, tmp_path: Path) -> None:
    array = np.zeros_like(pair.arrays["moving"])
    array[20:23, 20:23, 20:23] = 500
    assert "moving image has no contrast as mr" in pair.run(tmp_path, moving=pair.write(array)).error


def test_fault_10_nearly_constant_is_no_success(pair: Pair, tmp_path: Path) -> None:
    array = np.full(pair.arrays["moving"].shape, 1000.0, dtype=np.float32)
    array += np.random.default_rng(0).normal(0, 1e-3, array.shape)
    outcome = pair.run(tmp_path, moving=pair.write(array))
    assert outcome.code == 1 and "\nfailed: " in f"\n{outcome.out}"


# 11
def test_fault_11_no_overlap(pair: Pair, tmp_path: Path) -> None:
    far = pair.affine.copy()
    far[0, 3] += 500
    file = pair.write(pair.arrays["moving"], far)
    outcome = pair.run(tmp_path, moving=file)
    assert outcome.code == 1
    assert "failed: overlap 0 % (at least 70 %" in outcome.out
    assert "the headers say that the scans show different places" in outcome.out and "--affine auto" in outcome.out
    assert "the network's field raises no similarity and is left out" in outcome.out  # no deformation out of nothing
    aligned = pair.run(tmp_path / "aligned", "--affine", "auto", moving=file)
    assert aligned.code == 3 and "doubtful: header overlap 0 %" in aligned.out
    assert similarity(tmp_path / "aligned") > 0.5


def test_every_fault_has_a_test_or_a_place() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_register_faults*.py"))
    tested = {int(number) for number in re.findall(r"^def test_fault_(\d\d)_", tests, re.M)}
    elsewhere = {int(line[:2]) for line in (__doc__ or "").splitlines() if line[:2].isdigit()}
    assert tested | elsewhere == set(range(1, 25))
