"""Learn2Reg's evaluation, recomputed here from its definitions."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import correlate1d, map_coordinates

from morphseek_monai.base.errors import DataError
from morphseek_monai.data import validation_pairs
from morphseek_monai.evaluation.learn2reg import evaluate_learn2reg

CASES = ["0003_0000<--0004_0000", "0004_0000<--0003_0000"]
Edit = Callable[[np.ndarray], np.ndarray]


@pytest.fixture
def fields(phantom: Path, tmp_path: Path) -> Path:
    """A rough field for each validation pair."""
    folder = tmp_path / "fields"
    folder.mkdir()
    for seed, case in enumerate(CASES):
        field = np.random.default_rng(seed).uniform(-1.5, 1.5, (32, 32, 32, 3)).astype(np.float32)
        fixed, moving = case.split("<--")
        nib.save(nib.Nifti1Image(field, np.eye(4)), folder / f"disp_{fixed}_{moving}.nii.gz")
    return folder


def read(path: Path | str) -> np.ndarray:
    return nib.load(path).get_fdata()


def test_phantom_has_these_pairs(phantom: Path) -> None:
    names = [f"{pair['fixed']['id'][-9:]}<--{pair['moving']['id'][-9:]}" for pair in validation_pairs(phantom)]
    assert names == CASES


def test_every_number_follows_the_definition(phantom: Path, fields: Path) -> None:
    result = evaluate_learn2reg(fields, phantom)
    assert list(result) == ["name", "aggregates", "cases", "eval_version"]
    assert list(result["cases"]) == CASES
    for case, (fixed_id, moving_id) in zip(CASES, [("0003", "0004"), ("0004", "0003")], strict=True):
        field = read(fields / f"disp_{fixed_id}_0000_{moving_id}_0000.nii.gz")
        labels = [read(next(phantom.glob(f"labelsTr/*_{number}_0000.nii.gz"))) for number in (fixed_id, moving_id)]
        warped = map_coordinates(labels[1], np.indices(field.shape[:3]) + field.transpose(3, 0, 1, 2), order=0)
        dice = []
        for label in range(1, 13):
            a, b = labels[0] == label, warped == label
            dice.append(2 * (a & b).sum() / (a.sum() + b.sum()) if a.any() and (labels[1] == label).any() else np.nan)
        found = result["cases"][case]
        assert found["DSC"]["detailed"] == pytest.approx(dice, nan_ok=True)
        assert found["DSC"]["mean"] == pytest.approx(np.nanmean(dice))

        slopes = [[correlate1d(field[..., c], [-0.5, 0, 0.5], axis=a) + (a == c) for c in range(3)] for a in range(3)]
        jacobian = np.linalg.det(np.moveaxis(np.array(slopes), (0, 1), (-2, -1)))[2:-2, 2:-2, 2:-2]
        assert (jacobian <= 0).any()
        assert found["LogJacDetStd"]["mean"] == pytest.approx(np.log((jacobian + 3).clip(1e-9, 1e9)).std(), rel=1e-6)
        assert found["njd_percent"]["mean"] > 0
        assert len(found["HD95"]["detailed"]) == 12
    for name, share in (("DSC", 0.3), ("HD95", 0.3), ("LogJacDetStd", 0.7)):
        means = [case[name]["mean"] for case in result["cases"].values()]
        expected = {"mean": np.mean(means), "std": np.std(means), "30": np.quantile(means, share)}
        assert result["aggregates"][name] == pytest.approx(expected)


def test_a_zero_field_between_equal_maps_is_perfect(phantom: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(phantom, tmp_path / "data"))
    shutil.copy(next(data.glob("labelsTr/*_0003_0000.nii.gz")), next(data.glob("labelsTr/*_0004_0000.nii.gz")))
    for names in ("disp_0003_0004", "disp_0004_0003"):  # the short names
        nib.save(nib.Nifti1Image(np.zeros((32, 32, 32, 3), np.float32), np.eye(4)), tmp_path / f"{names}.nii.gz")
    aggregates = evaluate_learn2reg(tmp_path, data)["aggregates"]
    assert aggregates["DSC"] == {"mean": 1.0, "std": 0.0, "30": 1.0}
    for name in ("HD95", "LogJacDetStd", "njd_percent"):
        assert aggregates[name]["mean"] == pytest.approx(0, abs=1e-12)


def test_chosen_labels_and_npz(phantom: Path, fields: Path) -> None:
    full = evaluate_learn2reg(fields, phantom)
    for path in fields.glob("*.nii.gz"):
        np.savez(fields / path.name.replace(".nii.gz", ".npz"), field=read(path).astype(np.float32))
        path.unlink()
    some = evaluate_learn2reg(fields, phantom, labels=[2, 5])
    for case in CASES:
        detailed = full["cases"][case]["DSC"]["detailed"]
        assert some["cases"][case]["DSC"]["detailed"] == [detailed[1], detailed[4]]
        assert some["cases"][case]["LogJacDetStd"] == full["cases"][case]["LogJacDetStd"]


def test_masks_limit_the_spread(phantom: Path, fields: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(phantom, tmp_path / "data"))
    with pytest.raises(DataError, match="has no mask in masksTr"):
        evaluate_learn2reg(fields, data, masked=True)
    (data / "masksTr").mkdir()
    quiet = read(fields / "disp_0003_0000_0004_0000.nii.gz")
    quiet[:12] = 0
    nib.save(nib.Nifti1Image(quiet.astype(np.float32), np.eye(4)), fields / "disp_0003_0000_0004_0000.nii.gz")
    mask = np.zeros((32, 32, 32), np.uint8)
    mask[:10] = 1
    for image in data.glob("imagesTr/*.nii.gz"):
        nib.save(nib.Nifti1Image(mask, np.eye(4)), data / "masksTr" / image.name)
    case = evaluate_learn2reg(fields, data, masked=True)["cases"][CASES[0]]
    assert case["LogJacDetStd"]["mean"] == 0 < case["njd_percent"]["mean"]


def test_landmarks_are_voxels_read_by_a_cubic_spline(phantom: Path, fields: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(phantom, tmp_path / "data"))
    (data / "keypointsTr").mkdir()
    points = np.random.default_rng(3).uniform(4, 27, (5, 3))
    for image in data.glob("imagesTr/*.nii.gz"):
        np.savetxt(data / "keypointsTr" / image.name.replace(".nii.gz", ".csv"), points, delimiter=",")
    found = evaluate_learn2reg(fields, data)["cases"][CASES[0]]["TRE_kp"]
    field = read(fields / "disp_0003_0000_0004_0000.nii.gz")
    shift = np.stack([map_coordinates(field[..., c], points.T, order=3) for c in range(3)], 1)
    spacing = nib.load(next(data.glob("imagesTr/*_0004_0000.nii.gz"))).header.get_zooms()
    assert found["detailed"] == pytest.approx(np.linalg.norm(shift * spacing, axis=1).tolist(), rel=1e-6)
    result = evaluate_learn2reg(fields, data)
    means = [case["TRE_kp"]["mean"] for case in result["cases"].values()]
    assert result["aggregates"]["TRE_kp"]["30"] == pytest.approx(np.quantile(means, 0.7)) != np.mean(means)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda field: field[::2, ::2, ::2], r"must have shape \(32, 32, 32, 3\), got \(16, 16, 16, 3\)"),
        (lambda field: field.transpose(3, 0, 1, 2), "write it at full resolution, components last"),
        (lambda field: np.where(field > 1.4, np.nan, field), "has NaN or infinite displacements"),
    ],
)
def test_wrong_fields_are_named(phantom: Path, fields: Path, edit: Edit, message: str) -> None:
    path = fields / "disp_0003_0000_0004_0000.nii.gz"
    nib.save(nib.Nifti1Image(edit(read(path)).astype(np.float32), np.eye(4)), path)
    with pytest.raises(DataError, match=message):
        evaluate_learn2reg(fields, phantom)


def test_a_missing_field_is_told_before_anything_is_computed(phantom: Path, fields: Path) -> None:
    (fields / "disp_0004_0000_0003_0000.nii.gz").unlink()
    (fields / "disp_0003_0000_0004_0000.nii.gz").write_bytes(b"")
    with pytest.raises(DataError, match="has no disp_0004_0000_0003_0000.nii.gz"):
        evaluate_learn2reg(fields, phantom)
    shutil.copy(fields / "disp_0003_0000_0004_0000.nii.gz", fields / "disp_0004_0000_0003_0000.nii.gz")
    with pytest.raises(DataError, match="field .*disp_0003_0000_0004_0000.nii.gz cannot be read"):
        evaluate_learn2reg(fields, phantom)


def test_the_result_is_plain_json(phantom: Path, fields: Path) -> None:
    assert json.loads(json.dumps(evaluate_learn2reg(fields, phantom)))["eval_version"] == "2.0"
