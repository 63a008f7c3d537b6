"""Many pairs with registrations that only pretend: shares, what is done, what is broken."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from morphseek_monai.base.errors import DataError
from morphseek_monai.registration.batch import run as batch
from morphseek_monai.registration.batch.run import Share
from morphseek_monai.registration.options import RegisterOptions

from .desk import Desk

GIB = 2**30
SIZE = (16, 16, 16)


def test_every_pair_gets_a_folder_and_a_line(desk: Desk) -> None:
    desk.verdicts["p2"] = "failed"
    assert desk.run() == ["p0", "p1", "p2", "p3"]
    lines = desk.summary()
    assert [(line["name"], line["verdict"]) for line in lines] == [
        ("p0", "succeeded"), ("p1", "succeeded"), ("p2", "failed"), ("p3", "succeeded")
    ]  # fmt: skip
    assert lines[0]["fixed"] == str(desk.folder / "f0.nii") and lines[0]["moving"] == str(desk.folder / "m0.nii")
    numbers = ("similarity_before", "similarity_after", "njd_percent", "dice_before", "error")
    assert [lines[0][name] for name in numbers] == ["0.25", "0.75", "0.125", "", ""]
    assert float(lines[0]["seconds"]) >= 0


def test_options_reach_the_registration(desk: Desk) -> None:
    desk.run(desk.rows(seed="4", samples="2", affine="off", fixed_modality="mr", report="False"))
    _, arguments = desk.calls[0]
    assert (arguments["seed"], arguments["affine"], arguments["fixed_modality"]) == (4, "off", "mr")
    assert arguments["search"].samples == 2 and arguments["max_memory"] is None
    assert (desk.out / "p0/warped.nii.gz").read_text() == "report False, seed 4"


def test_a_bundle_is_loaded_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    load = batch.load_model
    monkeypatch.setattr(batch, "load_model", lambda root, device: loaded.append(str(root)) or load(root, device))
    desk.run()
    models = {id(arguments["bundle"]) for _, arguments in desk.calls}
    assert loaded == [str(desk.folder / "bundle")] and len(models) == 1


def test_bundle_is_chosen_by_modality_from_the_images(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, tuple[str, str]]] = []

    def choose(bundle: Any, scans: Any, modalities: tuple[str, str]) -> Path:
        asked.append((len(scans), modalities))
        return desk.folder / "bundle"

    monkeypatch.setattr(batch, "choose_bundle", choose)
    monkeypatch.setattr(batch, "read_scan", lambda *_: SimpleNamespace())
    row = desk.rows()[0]
    desk.run([row._replace(options=RegisterOptions())])
    desk.run([row._replace(options=RegisterOptions(modality="ct"))])
    assert asked == [(2, ("auto", "auto")), (0, ("ct", "ct"))]


def test_what_is_done_is_skipped(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.run()
    before = (desk.out / "summary.csv").read_bytes()
    with caplog.at_level(logging.INFO, "morphseek"):
        assert desk.run() == []
    assert "4 of 4 pairs are done already" in caplog.messages
    assert (desk.out / "summary.csv").read_bytes() == before
    assert desk.run(overwrite=True) == ["p0", "p1", "p2", "p3"]


@pytest.mark.parametrize("file", ["f2.nii", "m2.nii"])
def test_a_changed_image_is_registered_again(desk: Desk, file: str) -> None:
    desk.run()
    (desk.folder / file).write_text("other")
    assert desk.run() == ["p2"]
    later = (desk.folder / file).stat().st_mtime_ns + 10**9
    os.utime(desk.folder / file, ns=(later, later))  # of equal size
    assert desk.run() == ["p2"] and desk.run() == []


def test_changed_options_or_weights_register_again(desk: Desk) -> None:
    desk.run(desk.rows(seed="1"))
    assert desk.run(desk.rows(seed="1")) == []
    assert len(desk.run(desk.rows(seed="2"))) == 4
    weights = desk.folder / "bundle/models/model.pt"
    stat = weights.stat()
    weights.touch()
    assert desk.run(desk.rows(seed="2")) == []  # the weights count, not their date
    state = torch.load(weights, weights_only=True)
    torch.save({key: value * 1.5 for key, value in state.items()}, weights)
    os.utime(weights, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert len(desk.run(desk.rows(seed="2"))) == 4


def test_a_changed_affine_file_or_dicom_folder_registers_again(desk: Desk) -> None:
    (desk.folder / "start.txt").write_text("first")
    slices = desk.folder / "f3.nii"
    slices.unlink()
    slices.mkdir()
    (slices / "1.dcm").write_text("one")
    desk.run(desk.rows(affine="start.txt"))
    (slices / "2.dcm").write_text("two")
    assert desk.run(desk.rows(affine="start.txt")) == ["p3"]
    (desk.folder / "start.txt").write_text("second")
    assert len(desk.run(desk.rows(affine="start.txt"))) == 4


@pytest.mark.parametrize("lost", ["result.json", "pair.json"])
def test_an_incomplete_folder_is_not_done(desk: Desk, lost: str) -> None:
    desk.run()
    (desk.out / "p1" / lost).unlink()
    assert desk.run() == ["p1"]


def test_a_run_stopped_in_the_middle_goes_on_where_it_was(desk: Desk) -> None:
    desk.run(desk.rows(seed="1"))
    desk.faults["p2"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        desk.run(desk.rows(seed="2"))
    # the old results of p2 went when its new registration began: seed 1 must not find them either
    assert [line["name"] for line in desk.summary()] == ["p0", "p1", "p3"]
    desk.faults.clear()
    assert desk.run(desk.rows(seed="2")) == ["p2", "p3"]


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (DataError("m1.nii is empty (0 bytes); copy it again"), "m1.nii is empty (0 bytes); copy it again"),
        (MemoryError(), "MemoryError: "),
        (RuntimeError("[enforce fail] can't allocate\nmemory"), "RuntimeError: [enforce fail] can't allocate memory"),
    ],
)
def test_a_bad_pair_does_not_stop_the_rest(desk: Desk, fault: Exception, text: str) -> None:
    desk.faults["p1"] = fault
    assert desk.run() == ["p0", "p1", "p2", "p3"]
    line = desk.summary()[1]
    assert (line["name"], line["verdict"], line["error"]) == ("p1", "", text)
    failure = json.loads((desk.out / "p1/error.json").read_text())
    assert failure["error"] == text
    assert bool(failure["traceback"]) is not isinstance(fault, DataError)  # of a bug one wants more than a line
    assert not (desk.out / "p1/result.json").exists()


def test_errors_are_tried_again_and_forgotten_after_success(desk: Desk) -> None:
    desk.faults["p1"] = MemoryError()
    desk.run()
    desk.faults.clear()
    assert desk.run() == ["p1"]
    assert not (desk.out / "p1/error.json").exists()
    assert desk.summary()[1]["verdict"] == "succeeded"


def test_an_error_leaves_no_older_result(desk: Desk) -> None:
    desk.run()
    desk.faults["p1"] = MemoryError()
    desk.run(overwrite=True)
    assert not (desk.out / "p1/result.json").exists() and not (desk.out / "p1/pair.json").exists()
    assert desk.summary()[1]["error"] == "MemoryError: "


def test_missing_images_and_folders_that_cannot_be_made(desk: Desk) -> None:
    (desk.folder / "f0.nii").unlink()
    desk.faults["p0"] = DataError("fixed image f0.nii does not exist")
    desk.out.mkdir()
    (desk.out / "p2").write_text("a file where the folder should be")
    assert desk.run() == ["p0", "p1", "p3"]
    assert [line["name"] for line in desk.summary()] == ["p0", "p1", "p3"]


def test_processes_share_the_pairs_and_the_last_one_completes_the_summary(desk: Desk) -> None:
    assert desk.run(share=Share(1, 3)) == ["p1"]
    assert [line["name"] for line in desk.summary()] == ["p1"]
    assert desk.run(share=Share(0, 3)) == ["p0", "p3"]
    assert desk.run(share=Share(2, 3)) == ["p2"]
    assert [line["name"] for line in desk.summary()] == ["p0", "p1", "p2", "p3"]
    assert desk.run() == []  # one process finds what several did


def test_more_processes_than_pairs(desk: Desk) -> None:
    assert desk.run(share=Share(5, 8)) == []
    assert desk.summary() == []


def test_processes_of_a_machine_share_its_memory(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "available_memory", lambda: 12 * GIB)
    desk.run(share=Share(0, 4, 0, 3))
    assert desk.calls[0][1]["max_memory"] == 4 * GIB
    desk.run(desk.rows(max_memory="2G"), share=Share(0, 4, 0, 3))
    assert desk.calls[0][1]["max_memory"] == "2G"


def test_processes_of_a_machine_take_different_gpus(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    devices: list[str] = []
    model = SimpleNamespace(device="cuda", sha256="0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(batch, "choose_device", devices.append)
    monkeypatch.setattr(batch, "load_model", lambda root, device: model)
    for local_rank in range(3):
        desk.run(share=Share(local_rank, 4, local_rank, 3), overwrite=True)
    desk.run(desk.rows(device="cpu"), share=Share(1, 4, 1, 3))
    assert devices == ["cuda:0", "cuda:1", "cuda:0", "cpu"]


@pytest.fixture
def label(desk: Desk) -> Callable[[str, dict[int, int]], str]:
    def write(name: str, slabs: dict[int, int]) -> str:
        """Ids and the first x of their slabs, four voxels thick."""
        array = np.zeros(SIZE, np.uint8)
        for index, start in slabs.items():
            array[start : start + 4] = index
        nib.save(nib.Nifti1Image(array, np.eye(4)), desk.folder / name)
        return name

    return write


def test_dice_before_and_after(desk: Desk, label: Callable[[str, dict[int, int]], str]) -> None:
    # the transform takes points two voxels further: label 1 fits after, and half before; label 3 has no counterpart
    fixed, moving = label("fl.nii", {1: 2, 2: 8, 3: 12}), label("ml.nii", {1: 4, 2: 8})
    desk.run(desk.rows(fixed_label=fixed, moving_label=moving)[:1])
    (line,) = desk.summary()
    assert float(line["dice_before"]) == pytest.approx((0.5 + 1.0) / 2)
    assert float(line["dice_after"]) == pytest.approx((1.0 + 0.5) / 2)
    labels = json.loads((desk.out / "p0/pair.json").read_text())["dice"]["labels"]
    assert labels == {"1": [0.5, 1.0], "2": [1.0, 0.5]}


def test_labels_are_read_before_the_long_registration(desk: Desk, label: Any) -> None:
    assert desk.run(desk.rows(fixed_label=label("l.nii", {1: 3}), moving_label="none.nii")[:1]) == []
    assert "none.nii does not exist" in desk.summary()[0]["error"]


def test_labels_of_different_protocols(desk: Desk, label: Any) -> None:
    desk.run(desk.rows(fixed_label=label("fl.nii", {1: 3}), moving_label=label("ml.nii", {7: 3}))[:1])
    assert "have no label in common; give segmentations by one protocol" in desk.summary()[0]["error"]


def test_progress_tells_number_outcome_and_time_left(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.faults["p1"] = DataError("m1.nii is empty")
    with caplog.at_level(logging.INFO, "morphseek"):
        desk.run()
    assert caplog.messages[0].startswith("1 of 4, p0: succeeded, similarity 0.250 to 0.750, 0 s; ")
    assert caplog.messages[1].startswith("2 of 4, p1: error, m1.nii is empty; 0 min left")
    assert len(caplog.messages) == 4
