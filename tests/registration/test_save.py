"""Saving where machines are hard: killed at any moment, two at once, odd names, slow imports."""

from __future__ import annotations

import dataclasses
import html
import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nibabel as nib
import numpy as np
import pytest

from morphseek_monai.inference.find import InferenceOptions
from morphseek_monai.registration.models.model import RegistrationModel
from morphseek_monai.registration.register import register
from morphseek_monai.registration.result import RegistrationResult

from ..scenes import Brains, turned

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
FILES = ("transform.h5", "inverse.h5", "warped.nii.gz", "jacobian.nii.gz", "result.json")


@pytest.fixture(scope="module")
def result(brains: Brains, model: RegistrationModel) -> RegistrationResult:
    images = brains.image(0), brains.image(1)
    return register(*images, bundle=model, affine=turned((2, 3, -4), (4, -3, 2)), search=InferenceOptions(refine="off"))


def child(work: Callable[[], object]) -> int:
    """Start a process that works and ends, without pytest's tidying."""
    number = os.fork()
    if number == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return number


def whole(folder: Path) -> set[str]:
    """The files that are there under their names; each can be read to its end."""
    found = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    for name in found:
        if name.endswith(".nii.gz"):
            assert np.isfinite(nib.load(folder / name).get_fdata()).all()
        elif name.endswith(".h5"):
            with h5py.File(folder / name) as file:
                assert np.isfinite(file["TransformGroup/2/TransformParameters"][:]).all()
        elif name.endswith(".json"):
            json.loads((folder / name).read_text())
    return found


@pytest.mark.parametrize("moment", range(len(FILES)))
def test_a_kill_leaves_nothing_that_looks_whole(moment: int, result: RegistrationResult, tmp_path: Path) -> None:
    def work() -> None:
        replace, count = os.replace, iter(range(99))

        def killed(source: Any, target: Any) -> None:
            if next(count) == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            replace(source, target)

        os.replace = killed
        result.save(tmp_path, report=False)

    result.save(tmp_path, report=False)  # an earlier one, which must not be taken for the killed one
    assert os.WTERMSIG(os.waitpid(child(work), 0)[1]) == signal.SIGKILL
    found = whole(tmp_path)
    assert "result.json" not in found and len(found) == moment
    result.save(tmp_path, report=False)
    assert whole(tmp_path) == set(FILES)


def test_two_processes_with_one_folder_do_not_mix(result: RegistrationResult, tmp_path: Path) -> None:
    """Each marks its files with its number. Without turns the first's last map would lie beside the second's record."""
    waits = {1: {"jacobian.nii.gz": 2.0}, 2: {"result.json": 5.0}}

    def mark(number: int) -> RegistrationResult:
        values = np.full_like(result.warped_array, number)
        record = {**result.record, "seed": number}
        return dataclasses.replace(result, warped_array=values, jacobian=values, record=record)

    def work(number: int) -> None:
        replace = os.replace

        def slow(source: Any, target: Any) -> None:
            time.sleep(waits[number].get(Path(target).name, 0.0))
            replace(source, target)

        os.replace = slow
        mark(number).save(tmp_path, report=False)

    children = [child(lambda number=number: work(number)) for number in (1, 2)]
    assert [os.waitpid(number, 0)[1] for number in children] == [0, 0]
    assert whole(tmp_path) == set(FILES)
    seed = json.loads((tmp_path / "result.json").read_text())["seed"]
    for name in ("warped", "jacobian"):
        assert np.unique(nib.load(tmp_path / f"{name}.nii.gz").get_fdata()).tolist() == [seed]


@pytest.mark.parametrize("name", ["my results", "Ergebnis für Ärzte", "結果", "a'b\"c", "#1 & 2"])
def test_names_with_spaces_and_umlauts(name: str, result: RegistrationResult, tmp_path: Path) -> None:
    result.save(tmp_path / name / "out", report=True)
    assert whole(tmp_path / name / "out") - {"report.png"} == {*FILES, "report.html"}


def test_the_page_says_that_the_weights_have_seen_no_patient(result: RegistrationResult, tmp_path: Path) -> None:
    """Whoever gives no bundle, for a CT pair too, has not read what its weights were trained on."""
    result.save(tmp_path)
    page = html.unescape((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert page.count("were trained on generated phantoms of a brain and on no scan of a patient") == 1
    assert re.search(r">made_data</th><td[^>]*>generated phantoms of a brain</td>", page)


def test_a_working_folder_that_changes_all_the_while(
    result: RegistrationResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread moves the process about, as ITK does dozens of times while it loads its modules, 20 times over."""
    import threading

    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    stop = threading.Event()

    def move() -> None:
        while not stop.is_set():
            os.chdir(tmp_path / "there")
            time.sleep(0.002)
            os.chdir(tmp_path / "here")

    monkeypatch.chdir(tmp_path / "here")
    for number in range(20):
        os.chdir(tmp_path / "here")
        folder = Path(f"out{number}")
        at_the_door = folder.absolute()
        stop.clear()
        thread = threading.Thread(target=move)
        thread.start()
        try:
            result.save(at_the_door, report=False)
        finally:
            stop.set()
            thread.join()
        assert {path.name for path in at_the_door.iterdir()} == set(FILES)
    assert list((tmp_path / "there").iterdir()) == []
