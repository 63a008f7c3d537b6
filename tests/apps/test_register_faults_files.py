"""Faults 14 to 24 of those in test_register_faults.py: types, files, weights, memory and precision."""

from __future__ import annotations

import gzip
import json
import os
import struct
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from morphseek_monai.base.errors import DataError
from morphseek_monai.inference.find import InferenceOptions
from morphseek_monai.networks import MorphSeekNet
from morphseek_monai.registration.models.bundles import find_bundle
from morphseek_monai.registration.models.model import RegistrationModel, load_model
from morphseek_monai.registration.register import register
from morphseek_monai.registration.result import RegistrationResult

from .register_runs import Pair, copy_bundle

FullDisk = Callable[[int], AbstractContextManager[None]]
FILES = ["inverse.h5", "jacobian.nii.gz", "result.json", "transform.h5", "warped.nii.gz"]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(tmp_path_factory.mktemp("faults"))


@pytest.fixture(scope="module")
def model() -> RegistrationModel:
    return load_model(find_bundle("morphseek_phantom"))


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


# 14
@pytest.fixture(scope="module")
def result(pair: Pair, model: RegistrationModel) -> RegistrationResult:
    return register(pair.files["fixed"], pair.files["moving"], bundle=model, affine="off")


@pytest.mark.parametrize(
    ("dtype", "ids"),
    [("f4", (2, 17)), ("f8", (2, 2035)), ("u8", (1, 2**40)), ("i8", (3, 4)), (">i2", (-7, 4)), ("u1", (1, 35))],
)
def test_fault_14_label_maps_of_any_type(
    dtype: str, ids: tuple[int, int], result: RegistrationResult, pair: Pair
) -> None:
    array = np.array([0, *ids], dtype=dtype)[np.digitize(pair.arrays["moving"], [300, 600])]
    image = nib.Nifti1Image(array, pair.affine, dtype=array.dtype)
    how = "nearest" if min(ids) < 0 else "auto"
    assert set(np.unique(np.asarray(result.warp(image, how).dataobj)).tolist()) == {0, *ids}


def test_fault_14_no_whole_numbers_are_no_labels(result: RegistrationResult, pair: Pair) -> None:
    array = np.digitize(pair.arrays["moving"], [300, 600]) * 1.5
    values = np.asarray(result.warp(nib.Nifti1Image(array, pair.affine)).dataobj)
    assert len(np.unique(values)) > 100  # interpolated, as an image


# 15
def warped_of_type(dtype: str, pair: Pair, folder: Path) -> Any:
    """What comes of whole numbers up to 255 that are stored as this type."""
    files = {}
    for role, array in pair.arrays.items():
        files[role] = folder / f"{role}.nii"
        header = nib.Nifti1Header(endianness=">" if dtype.startswith(">") else "<")
        header.set_data_dtype(dtype)
        whole = np.round(array / 8).clip(0, 255)
        nib.save(nib.Nifti1Image(whole.astype(dtype), pair.affine, header), files[role])
    assert pair.run(folder / "out", **files).code == 0
    image: Any = nib.load(folder / "out/warped.nii.gz")
    assert image.get_data_dtype().newbyteorder("=") == np.float32
    return np.asarray(image.dataobj)


@pytest.fixture(scope="module")
def warped_of_f4(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return warped_of_type("<f4", pair, tmp_path_factory.mktemp("f4"))


@pytest.mark.parametrize("dtype", ["u1", "<i2", ">i2", "<u2", ">i4", ">f4", "<f8"])
def test_fault_15_data_types(dtype: str, pair: Pair, warped_of_f4: Any, tmp_path: Path) -> None:
    assert np.array_equal(warped_of_type(dtype, pair, tmp_path), warped_of_f4)


def test_fault_15_slope_and_intercept(pair: Pair, tmp_path: Path) -> None:
    """Values are stored shifted and doubled; the header says how to undo it."""
    path = tmp_path / "scaled.nii"
    nib.save(nib.Nifti1Image((pair.arrays["moving"] + 1024) * 2, pair.affine), path)
    data = bytearray(path.read_bytes())
    data[112:120] = struct.pack("<2f", 0.5, -1024)  # scl_slope, scl_inter
    path.write_bytes(bytes(data))
    assert np.array_equal(nib.load(path).get_fdata(), pair.arrays["moving"])
    assert pair.run(tmp_path / "out", moving=path).code == 0
    assert pair.is_the_clean_result(tmp_path / "out")


def test_fault_15_ct_without_its_offset_is_told(pair: Pair, tmp_path: Path) -> None:
    ct = {"ct": {"_target_": "ScaleIntensityRange", "a_min": 0, "a_max": 1000, "b_min": 0, "b_max": 1, "clip": True}}
    bundle = copy_bundle(tmp_path / "bundle", {"intensity": ct})
    files = {role: pair.write(a.clip(0), path=tmp_path / f"{role}.nii.gz") for role, a in pair.arrays.items()}
    outcome = pair.run(tmp_path / "out", "--bundle", bundle, "--modality", "ct", **files)
    for role in ("fixed", "moving"):
        assert f"{role} image is taken as ct but has no negative value, air has -1000 Hounsfield units" in outcome.out


# 16
def zero_bytes(path: Path, healthy: bytes) -> Path:
    path.write_bytes(b"")
    return path


def truncated(path: Path, healthy: bytes) -> Path:
    path.write_bytes(healthy[: len(healthy) // 2])
    return path


def wrong_extension(path: Path, healthy: bytes) -> Path:
    path.write_bytes(gzip.decompress(healthy))
    return path


def words(path: Path, healthy: bytes) -> Path:
    path.write_bytes(gzip.compress(b"no image at all"))
    return path


def missing(path: Path, healthy: bytes) -> Path:
    return path.with_name("missing.nii.gz")


def loop(path: Path, healthy: bytes) -> Path:
    link = path.with_name("loop.nii.gz")
    link.symlink_to(link)
    return link


def unknown_ending(path: Path, healthy: bytes) -> Path:
    path = path.with_name("image.xyz")
    path.write_bytes(healthy)
    return path


@pytest.mark.parametrize(
    ("plant", "message"),
    [
        (zero_bytes, "is empty (0 bytes); copy it again"),
        (truncated, "is truncated or damaged (its gzip stream does not end properly); copy it again"),
        (wrong_extension, "is not gzip-compressed although its name ends in .gz; rename or compress it"),
        (words, "cannot be read"),
        (missing, "does not exist; correct the path"),
        (loop, "does not exist (a symbolic link that leads nowhere, or in a circle); correct the path"),
        (unknown_ending, "cannot be read"),
    ],
)
@pytest.mark.parametrize("role", ["fixed", "moving"])
def test_fault_16_files_that_cannot_be_read(
    role: str, plant: Callable[[Path, bytes], Path], message: str, pair: Pair, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    for name in FILES:
        (tmp_path / "out" / name).write_text("of an earlier run")
    file = plant(tmp_path / "image.nii.gz", pair.files[role].read_bytes())
    error = pair.run(tmp_path / "out", **{role: file}).error
    assert error.startswith(f"{role} image {file} ") and message in error
    # what was there before is there still
    assert files_in(tmp_path / "out") == FILES
    assert {(tmp_path / "out" / name).read_text() for name in FILES} == {"of an earlier run"}


# 17
@pytest.mark.parametrize("written", [0, 1, 2, 3])
def test_fault_17_a_disk_that_fills_up(
    written: int, full_disk: FullDisk, result: RegistrationResult, pair: Pair, tmp_path: Path
) -> None:
    """The disk is full at the first, second, ... largest file."""
    sizes = sorted((path.stat().st_size, path.name) for path in pair.clean.glob("*.*") if path.suffix != ".json")
    size, name = sizes[written]
    (tmp_path / "result.json").write_text("of an earlier run")
    # transforms claim more than they take; the file that meets the limit may be an earlier one
    with full_disk(size - 100), pytest.raises(DataError, match=r"cannot be written \(.*\); give a writable folder"):
        result.save(tmp_path, report=False)
    left = files_in(tmp_path)
    assert name not in left and "result.json" not in left  # so that nobody takes the folder for a result
    assert set(left) < set(FILES)  # and no temporary file
    for other in left:
        assert (tmp_path / other).stat().st_size <= size


def test_fault_17_the_program_says_so(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Any, target: Any) -> None:
        raise OSError(28, os.strerror(28), target)

    monkeypatch.setattr(os, "replace", full)
    error = pair.run(tmp_path).error
    assert error.startswith(f"{tmp_path}/warped.nii.gz cannot be written (No space left on device); give a writable")
    assert files_in(tmp_path) == []


# 19
class Code:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_fault_19_a_checkpoint_with_code_is_refused_unrun(pair: Pair, tmp_path: Path) -> None:
    bundle = copy_bundle(tmp_path / "bundle")
    torch.save({"model": Code(tmp_path / "ran")}, bundle / "models/model.pt")
    error = pair.run(tmp_path / "out", "--bundle", bundle).error
    assert error.startswith(f"bundle {bundle} cannot be used: ") and "is not a readable checkpoint of tensors" in error
    assert not (tmp_path / "ran").exists() and files_in(tmp_path / "out") == []


# 20
def at_first(error: Exception, times: int = 1) -> Callable[..., Any]:
    """The network's answer, after so many failures."""
    answer, left = MorphSeekNet.forward, [times]

    def forward(self: MorphSeekNet, *args: Any, **kwargs: Any) -> Any:
        if left[0] and args[0].device.type != "meta":  # that is the estimate of memory
            left[0] -= 1
            raise error
        return answer(self, *args, **kwargs)

    return forward


SHORTAGES = [
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
]


@pytest.mark.parametrize("error", SHORTAGES)
def test_fault_20_memory_that_runs_out_gives_a_coarser_result(
    error: Exception, pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MorphSeekNet, "forward", at_first(error))
    outcome = pair.run(tmp_path)
    assert outcome.err == "" and "notice: memory ran out (estimated memory: " in outcome.out
    assert "2 times as coarse and the displacement field's voxels 2 times as large" in outcome.out
    assert "--max_memory" in outcome.out
    record = json.loads((tmp_path / "result.json").read_text())
    (whole,) = {json.loads((pair.clean / "result.json").read_text())["network"]["spacing"][0]}
    assert record["network"]["spacing"] == [2 * whole] * 3 and record["network"]["field"]["size"] == [24, 24, 24]
    assert any(notice.startswith("memory ran out") for notice in record["notices"])
    warped: Any = nib.load(tmp_path / "warped.nii.gz")
    assert warped.shape == (48, 48, 48) and np.array_equal(warped.affine, pair.affine)  # coarse is the field alone


def test_fault_20_memory_that_never_suffices(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MorphSeekNet, "forward", at_first(SHORTAGES[0], times=99))
    error = pair.run(tmp_path).error
    assert error.startswith("memory ran out, on coarser grids too (estimated memory: ")
    assert error.endswith("--max_memory")
    assert files_in(tmp_path) == []


def test_fault_20_other_errors_are_not_tried_again(pair: Pair, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(MorphSeekNet, "forward", at_first(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        pair.run(tmp_path)


# 21
def test_fault_21_a_network_that_answers_nan_moves_nothing(
    pair: Pair, model: RegistrationModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = MorphSeekNet.forward
    monkeypatch.setattr(MorphSeekNet, "forward", lambda *args, **kwargs: answer(*args, **kwargs) * float("nan"))
    search = InferenceOptions(refine="off")
    result = register(pair.files["fixed"], pair.files["moving"], bundle=model, affine="off", search=search)
    assert "the network's field raises no similarity and is left out" in result.notices
    assert result.ddf.abs().max() == 0 and np.isfinite(result.warped_array).all()
    assert result.metrics["after"]["similarity"] == result.metrics["before"]["similarity"]


def test_fault_21_weights_that_are_not_finite_are_refused(pair: Pair, tmp_path: Path) -> None:
    bundle = copy_bundle(tmp_path / "bundle")
    state = torch.load(bundle / "models/model.pt", weights_only=True)
    next(iter(state.values())).view(-1)[3] = float("inf")
    torch.save(state, bundle / "models/model.pt")
    assert "model.pt has NaN or infinite weights" in pair.run(tmp_path / "out", "--bundle", bundle).error


# 22
def test_fault_22_everything_is_single_precision_or_better(result: RegistrationResult) -> None:
    for tensor in (result.ddf, result.inverse_ddf):
        assert tensor.dtype == torch.float32
    assert result.warped_array.dtype == result.jacobian.dtype == np.float32
    assert result.affine.dtype == np.float64


def test_fault_22_the_callers_autocast_changes_nothing(
    result: RegistrationResult, pair: Pair, model: RegistrationModel
) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        other = register(pair.files["fixed"], pair.files["moving"], bundle=model, affine="off")
    assert other.ddf.dtype == torch.float32
    assert torch.equal(other.ddf, result.ddf)


def test_fault_22_far_from_the_origin_nothing_is_lost(pair: Pair, tmp_path: Path) -> None:
    """Two metres from the origin half precision counts in steps of 1 mm, bfloat16 in steps of 8 mm."""
    away = pair.affine.copy()
    away[:3, 3] += [2000, -1500, 1000]
    files = {role: pair.write(array, away, tmp_path / f"{role}.nii.gz") for role, array in pair.arrays.items()}
    assert pair.run(tmp_path / "out", **files).code == 0
    found = pair.displacements(tmp_path / "out", pair.points + [2000, -1500, 1000])
    assert np.abs(found - pair.displacements(pair.clean)).max() < 2e-3
    assert np.linalg.norm(found, axis=1).mean() > 1


# 24
def test_fault_24_one_scan_twice(pair: Pair, tmp_path: Path) -> None:
    same = pair.run(tmp_path / "same", moving=pair.files["fixed"])
    copied = pair.write(pair.arrays["fixed"].astype(np.float64), path=tmp_path / "another_name.nii.gz")
    other_name = pair.run(tmp_path / "copy", moving=copied)
    for outcome, name in ((same, "same"), (other_name, "copy")):
        assert outcome.code == 0 and "notice: fixed and moving are the same image, voxel by voxel\n" in outcome.out
        assert np.linalg.norm(pair.displacements(tmp_path / name), axis=1).max() < 0.1
