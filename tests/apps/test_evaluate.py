"""``morphseek evaluate``: its table and its files; the numbers are tested where they are made."""

from __future__ import annotations

import csv
import errno
import json
import os
import struct
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from morphseek_monai.apps.main import main
from morphseek_monai.registration.folder import read_registration
from morphseek_monai.spatial.transform import map_points


def labels(folder: Path) -> list[str]:
    return ["--fixed_label", str(folder / "fixed_label.nii.gz"), "--moving_label", str(folder / "moving_label.nii.gz")]


@pytest.fixture
def landmarks(registered: Path, tmp_path: Path) -> list[str]:
    """Points of the fixed image and theirs of the moving image, 1 mm off."""
    result = read_registration(registered)
    points = result.fixed.centre + np.random.default_rng(0).uniform(-6, 6, (8, 3))
    mapped = map_points(result.transform_from("fixed"), points) + [0, 0, 1.0]
    options = ["--space", "RAS"]
    for name, values in (("fixed", points), ("moving", mapped)):
        path = tmp_path / f"{name}.csv"
        np.savetxt(path, values, delimiter=",", header="x,y,z", comments="")
        options += [f"--{name}_points", str(path)]
    return options


def test_one_pair_as_table_json_and_csv(
    registered: Path, tmp_path: Path, landmarks: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["evaluate", "--registration", str(registered), *labels(registered), *landmarks]
    main([*options, "--out", str(tmp_path / "r.json")])
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["2", "7", "mean"]
    assert "landmarks after: 1.00 +- 0.00 mm" in printed and "field: 0 % folded" in printed
    content = json.loads((tmp_path / "r.json").read_text())
    assert [entry["label"] for entry in content["labels"]] == [2, 7]
    mean = np.mean([entry["dice_after"] for entry in content["labels"]])
    assert content["mean"]["dice_after"] == pytest.approx(mean) and mean > content["mean"]["dice_before"] + 0.1
    assert f"{mean:.3f}" in lines[3]
    assert content["landmarks_mm"]["after"]["mean"] == pytest.approx(1, abs=1e-6)
    assert content["landmarks_mm"]["before"]["quantiles"]["0.95"] > 5
    assert content["field"]["njd_percent"] == 0 < content["field"]["sdlogj_l2r"]

    main([*options, "--out", str(tmp_path / "r.csv")])
    with open(tmp_path / "r.csv") as stream:
        rows = {(row["metric"], row["label"]): row for row in csv.DictReader(stream)}
    assert float(rows["dice", "7"]["after"]) == content["labels"][1]["dice_after"]
    assert float(rows["hd95_mm", "2"]["before"]) == content["labels"][0]["hd95_before"]
    assert float(rows["tre_mm_mean", ""]["after"]) == content["landmarks_mm"]["after"]["mean"]
    assert float(rows["sdlogj", ""]["after"]) == content["field"]["sdlogj"]


def test_labels_of_one_map_only_are_null_and_do_not_count(
    registered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = nib.load(registered / "moving_label.nii.gz")
    array = np.asarray(image.dataobj)
    nib.save(nib.Nifti1Image(np.where(array == 7, 9, array).astype(np.uint8), image.affine), tmp_path / "m.nii.gz")
    maps = ["--fixed_label", str(registered / "fixed_label.nii.gz"), "--moving_label", str(tmp_path / "m.nii.gz")]
    out = tmp_path / "r.json"
    main(["evaluate", "--transform", str(registered / "transform.h5"), *maps, "--out", str(out)])
    assert "2 of 3 labels are in one map only and do not count" in capsys.readouterr().out
    content = json.loads(out.read_text())
    assert content["labels"][1] | {"label": 7} == dict.fromkeys(content["labels"][1]) | {"label": 7}
    assert content["mean"]["dice_after"] == content["labels"][0]["dice_after"]


def test_a_field_alone(registered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--transform", str(registered / "transform.h5"), "--grid", str(registered / "fixed.nii.gz")]
    main(["evaluate", *options])
    printed = capsys.readouterr().out
    assert printed.startswith("field: 0 % folded, SDlogJ 0.1") and printed.count("\n") == 1


def test_a_folder_of_learn2reg_fields(phantom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for names in ("0003_0000_0004_0000", "0004_0000_0003_0000"):
        nib.save(nib.Nifti1Image(np.zeros((32, 32, 32, 3), np.float32), np.eye(4)), tmp_path / f"disp_{names}.nii.gz")
    options = ["--l2r_fields", str(tmp_path), "--dataset_dir", str(phantom), "--out", str(tmp_path / "metrics.json")]
    main(["evaluate", *options, "--labels", "1,2"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["PAIR", "LogJacDetStd", "njd_percent", "DSC", "HD95"]
    assert [line.split()[0] for line in lines[1:]] == [
        "0003_0000<--0004_0000", "0004_0000<--0003_0000", "mean", "std", "30"
    ]  # fmt: skip
    content = json.loads((tmp_path / "metrics.json").read_text())
    assert len(content["cases"]["0003_0000<--0004_0000"]["DSC"]["detailed"]) == 2
    assert f"{content['aggregates']['DSC']['mean']:.4f}" in lines[3]


def test_lumir_has_its_own_metrics_and_tells_what_is_lost(
    phantom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("0003_0004", 0), ("0004_0003", 40)):
        field = np.full((32, 32, 32, 3), value, np.float32)
        nib.save(nib.Nifti1Image(field, np.eye(4)), tmp_path / f"disp_{name}.nii.gz")
    options = ["--l2r_fields", str(tmp_path), "--dataset_dir", str(phantom), "--challenge", "lumir", "--labels", "0,2"]
    main(["evaluate", *options, "--out", str(tmp_path / "metrics.json")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].replace("diffeomorphic Volumes", "").split() == ["PAIR", "DSC", "HD95", "Non-", "njd_percent"]
    assert lines[-1] == "0004_0000<--0003_0000: 1 label is lost in warping, so HD95 is infinite"
    content = json.loads((tmp_path / "metrics.json").read_text())
    assert content["aggregates"]["HD95"]["mean"] == np.inf
    assert content["aggregates"]["Non-diffeomorphic Volumes"] == {"mean": 0, "std": 0, "30": 0}


@pytest.mark.parametrize("slope", [1 / 255, 0.99998 / 255])
def test_label_maps_saved_with_a_slope_have_the_same_dice(
    slope: float, registered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ids 2 and 7 come back as 2.0000001 or 6.99986."""
    main(["evaluate", "--registration", str(registered), *labels(registered)])
    plain = capsys.readouterr().out
    for name in ("fixed_label", "moving_label"):
        image = nib.load(registered / f"{name}.nii.gz")
        stored = nib.Nifti1Image(np.asarray(image.dataobj).astype(np.int16) * 255, image.affine)
        nib.save(stored, tmp_path / f"{name}.nii")
        data = bytearray((tmp_path / f"{name}.nii").read_bytes())
        data[112:120] = struct.pack("<2f", slope, 0)  # scl_slope, scl_inter
        (tmp_path / f"{name}.nii").write_bytes(bytes(data))
        assert not np.isin(nib.load(tmp_path / f"{name}.nii").get_fdata(), [0, 2, 7]).all()
    maps = ["--fixed_label", str(tmp_path / "fixed_label.nii"), "--moving_label", str(tmp_path / "moving_label.nii")]
    main(["evaluate", "--registration", str(registered), *maps])
    lines = capsys.readouterr().out.splitlines()
    told = [line for line in lines if line.startswith("notice: ")]
    assert [line for line in lines if line not in told] == plain.splitlines()
    assert len(told) == 2 and all("round" in line for line in told), told


@pytest.mark.parametrize("ending", ["json", "csv"])
def test_numbers_whose_file_cannot_be_written_are_printed(
    ending: str, registered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Any, target: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), target)

    monkeypatch.setattr(os, "replace", full)
    grid = ["--transform", str(registered / "transform.h5"), "--grid", str(registered / "fixed.nii.gz")]
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", *grid, "--out", str(tmp_path / f"r.{ending}")])
    printed = capsys.readouterr()
    assert stop.value.code == 2 and printed.out.startswith("field: 0 % folded, SDlogJ 0.1")
    assert f"r.{ending} cannot be written (No space left on device); give a writable folder" in printed.err
    assert printed.err.count("\n") == 1 and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give either --registration DIR or --transform FILE"),
        (["--registration", "{folder}", "--fixed_label", "a.nii.gz"], "--fixed_label goes with --moving_label"),
        (["--registration", "{folder}", "--moving_points", "a.csv"], "--fixed_points goes with --moving_points"),
        (["--transform", "{folder}/transform.h5"], "needs --fixed_label or --grid FIXED"),
        (["--registration", "{folder}", "--labels", "1,2"], "--labels and --masked belong to --l2r_fields"),
        (["--registration", "{folder}", "--challenge", "lumir"], "--challenge, --labels and --masked belong to"),
        (["--l2r_fields", "a", "--dataset_dir", "b", "--challenge", "x"], "must be one of learn2reg, lumir, got x"),
        (["--l2r_fields", "a", "--dataset_dir", "b", "--challenge", "lumir", "--masked"], "--masked belongs to"),
        (["--l2r_fields", "{folder}"], "--l2r_fields goes with --dataset_dir"),
        (["--l2r_fields", "a", "--dataset_dir", "b", "--grid", "c"], "without the options of one pair"),
        (["--l2r_fields", "a", "--dataset_dir", "b", "--labels", "one"], "--labels must be ids other than 0"),
        (["--registration", "{folder}", "--out", "r.txt"], "--out must end in .json or .csv, got "),
        (["--l2r_fields", "a", "--dataset_dir", "b", "--out", "r.csv"], "--out must end in .json, got "),
    ],
)
def test_wrong_options_end_with_2(
    registered: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", *(option.format(folder=registered) for option in options)])
    error = capsys.readouterr().err
    assert stop.value.code == 2 and message in error and error.count("\n") == 1
