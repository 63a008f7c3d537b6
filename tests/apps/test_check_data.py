"""What ``check-data`` reports, its options, and what a config changes; the faults are in the file beside."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from morphseek_monai.apps import check_data
from morphseek_monai.apps.main import main
from morphseek_monai.data import write_phantom

Check = Callable[..., Any]
Rewrite = Callable[..., None]
TRAIN, VALID = "PhantomBrain_0002_0000", "PhantomBrain_0006_0000"  # of six subjects the last two are held out
PHANTOM = str(Path(__file__).resolve().parents[2] / "bundles" / "morphseek_phantom" / "configs" / "train.json")


@pytest.mark.parametrize(
    ("key", "check_name", "words"),
    [
        ("registration_val", "list", "has no 'registration_val' pairs"),
        ("labels", None, ""),
    ],
)
def test_lists_without_an_entry(key: str, check_name: str | None, words: str, folder: Path, check: Check) -> None:
    path = next(folder.glob("*_dataset.json"))
    content = json.loads(path.read_text())
    del content[key]
    path.write_text(json.dumps(content))
    checked = check(folder)
    assert checked.code == (1 if check_name else 0)
    assert [f["check"] for f in checked.bad] == ([check_name] if check_name else [])
    assert words in "".join(f["what"] for f in checked.bad)


def test_masks(tmp_path: Path, check: Check, rewrite: Rewrite) -> None:
    folder = tmp_path / "torso"
    write_phantom(folder, kind="torso", subjects=4, shape=(24, 24, 24), validation=1)
    checked = check(folder)
    assert (checked.code, checked.bad) == (0, [])
    # CT and MR of three people
    assert {(p["fixed"], p["moving"]): (p["across"], p["within"]) for p in checked.report["training_pairs"]} == {
        ("0000", "0000"): (6, 0),
        ("0000", "0001"): (6, 3),
        ("0001", "0000"): (6, 3),
        ("0001", "0001"): (6, 0),
    }
    name = "PhantomTorso_0001_0001"
    rewrite(folder, "mask", name, np.zeros_like)
    rewrite(folder, "mask", "PhantomTorso_0002_0001", lambda a: 255 * a)
    one_slice = np.zeros((24, 24, 24), np.uint8)
    one_slice[5] = 1
    rewrite(folder, "mask", "PhantomTorso_0003_0001", lambda a: one_slice)
    rewrite(folder, "mask", "PhantomTorso_0003_0000", lambda a: a[1:])
    rewrite(folder, "mask", "PhantomTorso_0002_0000", lambda a: np.where(a, np.arange(24, dtype=np.uint8) + 1, 0))
    checked = check(folder)
    assert checked.code == 1
    assert checked.only("empty")["where"] == [name]
    assert checked.only("mask_values")["where"] == ["PhantomTorso_0002_0000"]
    assert checked.only("one_slice")["where"] == ["PhantomTorso_0003_0001"]
    assert "mask has shape" in checked.only("label_grid")["what"]


def test_volumes_are_millilitres(folder: Path, check: Check) -> None:
    checked = check(folder)
    subject = next(s for s in checked.report["subjects"] if s["id"] == TRAIN)
    label: Any = nib.load(folder / "labelsTr" / f"{TRAIN}.nii.gz")
    voxels = (np.asarray(label.dataobj) == 3).sum()
    assert subject["volumes_ml"]["3"] == pytest.approx(voxels * np.prod(label.header.get_zooms()) / 1000, rel=1e-5)
    summary = next(entry for entry in checked.report["labels"] if entry["id"] == 3)
    assert len(summary["present"]) == 6 and subject["volumes_ml"]["3"] in summary["volumes"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--spatial_size", "[8,8,8]"], "--spatial_size needs --config"),
        (["--estimate", "True"], "--estimate needs --config"),
        (["--layout", "nifti"], "'layout' must be auto or one of"),
        (["--validation", "[1,2]"], "lists registration_val"),
        (["--config", "none.json"], "none.json does not exist"),
    ],
)
def test_bad_options_are_one_line_and_code_2(
    options: list[str], reason: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["check-data", str(folder), *options])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert reason in error and error.count("\n") == 1


def test_a_folder_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["check-data", str(tmp_path / "nowhere")])
    assert caught.value.code == 2 and "does not exist" in capsys.readouterr().err


def test_a_config_checks_its_own_lists_and_labels(folder: Path, check: Check) -> None:
    checked = check(folder, "--config", PHANTOM)
    assert (checked.code, checked.bad) == (0, [])
    assert "after the config's preprocessing" in checked.report["initial_dice"][0]["how"]
    checked = check(folder, "--config", PHANTOM, "--num_labels", "10")
    assert checked.code == 1 and "outside 0..9" in checked.only("label_ids")["what"]
    assert "prepare" not in [finding["check"] for finding in checked.bad]  # said once


def test_preprocessing_that_resizes_heals_other_shapes(folder: Path, check: Check, rewrite: Rewrite) -> None:
    for role in ("image", "label"):
        rewrite(folder, role, TRAIN, lambda a: a[1:])
    checked = check(folder, "--config", PHANTOM)
    assert checked.code == 1 and "of 2 different shapes" in checked.only("prepared_shape")["what"]
    checked = check(folder, "--config", PHANTOM, "--spatial_size", "[16,16,16]")
    assert (checked.code, checked.bad) == (0, [])
    assert any("which the preprocessing makes one" in finding["what"] for finding in checked.report["findings"])


def test_a_config_with_mapped_labels(folder: Path, tmp_path: Path, check: Check, rewrite: Rewrite) -> None:
    content = json.loads(Path(PHANTOM).read_text())
    transforms = content["train"]["preprocessing"]["transforms"]
    at = transforms.index("@check")
    select = {"_target_": "morphseek_monai.transforms.SelectLabelsd", "keys": "label", "labels": [[3, 300], 4]}
    transforms.insert(at, {**select, "allow_missing_keys": True})
    path = tmp_path / "train.json"
    path.write_text(json.dumps(content))
    rewrite(folder, "label", VALID, lambda a: np.where(a == 3, 300, a.astype(np.int16)))
    checked = check(folder, "--config", str(path), "--num_labels", "3")
    assert checked.code == 0 and not [finding for finding in checked.bad if finding["check"] == "label_ids"]
    assert len(checked.report["initial_dice"][0]["dice"]) == 2
    # the check before the mapping: what the preprocessing refuses, training will
    transforms[at : at + 2] = transforms[at + 1], transforms[at]
    path.write_text(json.dumps(content))
    checked = check(folder, "--config", str(path), "--num_labels", "3")
    refused = [finding for finding in checked.bad if finding["check"] == "prepare"]
    assert checked.code == 1 and [VALID] in [finding["where"] for finding in refused]
    assert "has id 300 outside 0..2" in " ".join(finding["what"] for finding in refused)


def test_an_estimate_of_what_cannot_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], check: Check
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("one iteration at 16 x 16 x 16 failed: ValueError: no")

    monkeypatch.setattr("morphseek_monai.doctor.run.estimate_cost", fail)
    checked = check(folder, "--config", PHANTOM, "--estimate", "True")
    assert (
        checked.code == 1 and checked.only("cost")["what"].endswith("ValueError: no") and checked.report["cost"] is None
    )


@pytest.mark.parametrize("option", ["--spatial_sizes=[8,8,8]", "--dataset=x"])
def test_overrides_are_ids_of_the_config(option: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["check-data", str(folder), "--config", PHANTOM, option])
    assert caught.value.code == 2 and "is no option, and no id of config" in capsys.readouterr().err


def test_every_check_is_in_the_docs() -> None:
    root = Path(__file__).resolve().parents[2]
    sources = [*(root / "morphseek_monai" / "doctor").glob("*.py"), Path(check_data.__file__)]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    names = set(re.findall(r'\b(?:ERROR|WARN),\s*"([a-z_]+)"', text))
    page = (root / "docs" / "check_data.md").read_text(encoding="utf-8").split("## What is checked")[1]
    listed = [name for row in re.findall(r"^\| (`.*?) \|", page, re.M) for name in re.findall(r"`(\w+)`", row)]
    assert len(names) > 30 and sorted(listed) == sorted(names)
