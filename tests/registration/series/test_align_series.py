"""A series whose motion is known exactly comes to rest; SimpleITK judges transforms and images."""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from morphseek_monai.base.errors import DataError
from morphseek_monai.data.scans.scan import write_scan
from morphseek_monai.registration.options import RegisterOptions
from morphseek_monai.registration.series import deform as deform_module
from morphseek_monai.registration.series.align_series import align_series
from morphseek_monai.registration.series.rigid_search import RigidSearch
from morphseek_monai.space.grid import Grid
from morphseek_monai.spatial.point_map import PointMap

from .scene import AFFINE, CENTRE, SIZE, pose, volume, write_series

POSES = (((0, 0, 0), (0, 0, 0)), ((0.2, -0.1, 0.3), (0.1, -0.2, 0.05)), ((-1, 2, 1.5), (2, -1, 3)))
FLIP = np.array([-1.0, -1.0, 1.0])
GRID = Grid(SIZE, AFFINE)


def read(path: Path) -> Any:
    image: Any = nib.load(path)
    return np.asarray(image.dataobj)


def table(folder: Path) -> list[dict[str, str]]:
    with open(folder / "motion.csv", newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("moved")
    truth = [pose(*one) for one in POSES]
    path = write_series(folder / "series.nii.gz", [volume(matrix, seed) for seed, matrix in enumerate(truth)])
    record = align_series(path, folder / "out", reference=0)
    return SimpleNamespace(path=path, out=folder / "out", truth=truth, record=record)


def test_known_motion_is_found_to_a_tenth_of_a_millimetre_and_degree(moved: SimpleNamespace) -> None:
    assert moved.record["reference"] == 0
    for row, (shift, degrees) in zip(table(moved.out), POSES, strict=True):
        found = [float(row[name]) for name in row if name.startswith(("trans", "rot"))]
        np.testing.assert_allclose(found, [*shift, *degrees], atol=0.1)
        assert float(row["correlation"]) > 0.99


def test_simpleitk_reads_the_transforms(moved: SimpleNamespace) -> None:
    """Points of the mean go where the head went."""
    points = CENTRE + np.random.default_rng(0).normal(0, 25, (40, 3))
    for number, truth in enumerate(moved.truth):
        transform = sitk.ReadTransform(str(moved.out / f"transforms/volume_{number:04d}.tfm"))
        assert transform.GetName() == "AffineTransform"
        mapped = np.array([transform.TransformPoint((point * FLIP).tolist()) for point in points]) * FLIP
        expected = points @ truth[:3, :3].T + truth[:3, 3]
        assert np.abs(mapped - expected).max() < 0.15


def test_each_volume_is_the_original_interpolated_once_by_simpleitk(moved: SimpleNamespace, tmp_path: Path) -> None:
    corrected = read(moved.out / "corrected.nii.gz")
    write_scan(tmp_path / "one.nii.gz", read(moved.path)[..., 2], GRID)
    original = sitk.ReadImage(str(tmp_path / "one.nii.gz"))
    transform = sitk.ReadTransform(str(moved.out / "transforms/volume_0002.tfm"))
    judge = sitk.GetArrayFromImage(sitk.Resample(original, original, transform, sitk.sitkBSpline, 0.0)).T
    assert np.abs(corrected[..., 2] - judge).max() < 1e-3 * np.ptp(judge)
    np.testing.assert_allclose(read(moved.out / "mean.nii.gz")[8:-8, 8:-8, 8:-8],
                               corrected.mean(axis=3)[8:-8, 8:-8, 8:-8], rtol=1e-4, atol=0.01)  # fmt: skip


def test_the_head_comes_to_rest(moved: SimpleNamespace) -> None:
    rest = volume(np.eye(4), noise=0)
    inner = (slice(6, -6),) * 3
    files = moved.path, moved.out / "corrected.nii.gz"
    before, after = (np.abs(read(path)[..., 2] - rest)[inner].mean() for path in files)
    assert after < 6 < before / 4  # the noise is 6


def test_grid_and_time_step_are_those_of_the_series(moved: SimpleNamespace) -> None:
    before, after = (nib.load(path) for path in (moved.path, moved.out / "corrected.nii.gz"))
    assert after.shape == before.shape and np.array_equal(after.affine, before.affine)
    assert after.header.get_zooms()[3] == 2.5 and after.header.get_xyzt_units() == ("mm", "sec")
    assert nib.load(moved.out / "mean.nii.gz").shape == SIZE
    assert json.loads((moved.out / "series.json").read_text())["fd_max_mm"] == moved.record["fd_max_mm"] > 4


def test_a_spoilt_volume_is_told_of_and_copied(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    volumes = [volume(np.eye(4), seed) for seed in range(4)]
    volumes[1][3, 4, 5] = np.nan
    volumes[3][:] = 7
    path = write_series(tmp_path / "series.nii.gz", volumes)
    with caplog.at_level(logging.INFO, "morphseek"):
        record = align_series(path, tmp_path / "out", interpolation="linear")
    assert record["unusable"] == [1, 3]
    assert "volume 1 is NaN or infinite in 1 voxels where others have values" in caplog.text
    assert "volume 3 has one value everywhere (7)" in caplog.text
    corrected = read(tmp_path / "out/corrected.nii.gz")
    np.testing.assert_array_equal(corrected[..., [1, 3]], read(path)[..., [1, 3]])
    assert np.isfinite(corrected[..., [0, 2]]).all() and np.isfinite(read(tmp_path / "out/mean.nii.gz")).all()
    np.testing.assert_allclose(read(tmp_path / "out/mean.nii.gz").mean(), corrected[..., [0, 2]].mean(), rtol=0.01)
    identity = sitk.ReadTransform(str(tmp_path / "out/transforms/volume_0001.tfm"))
    assert identity.TransformPoint((1.0, 2.0, 3.0)) == (1.0, 2.0, 3.0)
    assert [bool(row["note"]) for row in table(tmp_path / "out")] == [False, True, False, True]


def test_nan_around_the_head_in_all_volumes_is_a_mask(tmp_path: Path) -> None:
    volumes = [volume(pose((0, shift, 0), (0, 0, 0)), seed) for seed, shift in enumerate((0, 3))]
    for one in volumes:
        one[:, :5] = np.nan
    write_series(tmp_path / "series.nii.gz", volumes)
    record = align_series(tmp_path / "series.nii.gz", tmp_path / "out", reference=0)
    assert record["unusable"] == []
    np.testing.assert_allclose(float(table(tmp_path / "out")[1]["trans_y_mm"]), 3, atol=0.1)
    corrected = read(tmp_path / "out/corrected.nii.gz")
    assert np.isnan(corrected[:, :4]).all() and np.isfinite(corrected[:, 7:-1]).all()


def test_a_far_start_is_tried_beside_the_near_ones() -> None:
    """A volume a third of the head away is found from the right start, and no start is made worse."""
    far = pose((0, 0, 30), (0, 0, 0))
    search = RigidSearch(volume(np.eye(4)), GRID)
    matrix, value = search.find(volume(far, 1), [np.eye(4), far])
    assert value > 0.98 and np.abs(matrix - far).max() < 0.5
    assert search.find(volume(far, 1), [far])[1] <= value + 1e-3


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Registrations that only pretend; ``verdict`` and ``error`` can be set, ``calls`` are kept."""
    desk: dict[str, Any] = {"verdict": "succeeded", "error": None, "calls": []}

    def register(fixed: Any, moving: Any, options: RegisterOptions) -> Any:
        desk["calls"].append((fixed, moving, options))
        if desk["error"]:
            raise desk["error"]
        check = SimpleNamespace(outcome=desk["verdict"], name="folding", value=3.0)
        nudge = np.eye(4)
        nudge[0, 3] = 3.5
        return SimpleNamespace(verdict=desk["verdict"], checks=[check], forward=PointMap((nudge, options.affine)))

    monkeypatch.setattr(deform_module, "register", register)
    return desk


def test_deformable_starts_from_the_rigid_map_and_warps_the_original(
    pretended: dict[str, Any], tmp_path: Path
) -> None:
    path = write_series(tmp_path / "series.nii.gz", [volume(pose((0, s, 0), (0, 0, 0)), s) for s in (0, 2)])
    align_series(path, tmp_path / "out", "deformable", reference=0, interpolation="linear")
    (fixed, moving, options), *_ = pretended["calls"][1:]
    np.testing.assert_array_equal(moving.get_fdata(), read(path)[..., 1])
    assert fixed.shape == SIZE and options.steps == 0
    np.testing.assert_allclose(options.affine[:3, 3], [0, 2, 0], atol=0.6)
    transform = sitk.ReadTransform(str(tmp_path / "out/transforms/volume_0001.h5"))
    moved = np.array(transform.TransformPoint((CENTRE * FLIP).tolist())) * FLIP
    np.testing.assert_allclose(moved - CENTRE, [3.5, 2, 0], atol=0.15)


@pytest.mark.parametrize(
    ("verdict", "error", "says"),
    [
        ("failed", None, "its rigid map is used, for the registration failed (folding 3)"),
        ("succeeded", MemoryError("no room"), "its rigid map is used, for MemoryError: no room"),
        ("doubtful", None, "its registration is doubtful (folding 3)"),
    ],
)
def test_a_volume_that_does_not_deform_keeps_its_rigid_map(
    verdict: str, error: Exception | None, says: str, pretended: dict[str, Any], tmp_path: Path
) -> None:
    pretended.update(verdict=verdict, error=error)
    path = write_series(tmp_path / "series.nii.gz", [volume(np.eye(4), seed) for seed in range(2)])
    record = align_series(path, tmp_path / "out", "deformable", interpolation="linear")
    assert record["notes"] == {"0": says, "1": says} and record["unusable"] == []
    rigid = [file.suffix for file in sorted((tmp_path / "out/transforms").iterdir())]
    assert rigid == ([".h5"] * 2 if verdict == "doubtful" else [".tfm"] * 2)


WRONG = {
    "one volume": "has one volume, its shape is",
    "one is left": "has 1 usable of 2 volumes",
    "transform": "--transform must be rigid or deformable, got 'affine'",
    "interpolation": "--interpolation must be one of bspline, linear, sinc, got 'nearest'",
    "reference": "--reference must be a whole number from 0 to 2, got 3",
    "spoilt reference": "volume 1 has one value everywhere (7); choose another --reference",
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_aligned_is_told_in_one_line(case: str, tmp_path: Path) -> None:
    volumes = [volume(np.eye(4), seed) for seed in range(3)]
    volumes[1][:] = 7
    volumes = volumes[: {"one volume": 1, "one is left": 2}.get(case, 3)]
    options: dict[str, Any] = {
        "transform": {"transform": "affine"}, "interpolation": {"interpolation": "nearest"},
        "reference": {"reference": 3}, "spoilt reference": {"reference": 1},
    }.get(case, {})  # fmt: skip
    path = write_series(tmp_path / "series.nii.gz", volumes)
    with pytest.raises(DataError) as told:
        align_series(path, tmp_path / "out", **options)
    assert WRONG[case] in str(told.value) and not (tmp_path / "out").exists()
