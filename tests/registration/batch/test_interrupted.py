"""A batch that is killed, or meets a full disk, at any of its steps on the disk; then the same table once more."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from morphseek_monai.base.errors import DataError
from morphseek_monai.registration.batch import run as batch
from morphseek_monai.registration.batch.run import run_batch
from morphseek_monai.registration.batch.summary import count_outcomes
from morphseek_monai.registration.batch.table import PairRow
from morphseek_monai.registration.options import updated

from .desk import Desk


@pytest.fixture
def rows(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> list[PairRow]:
    """Two pairs; the network is only named."""
    sha256 = hashlib.sha256((desk.folder / "bundle/models/model.pt").read_bytes()).hexdigest()
    model = SimpleNamespace(device="cpu", sha256=sha256)
    monkeypatch.setattr(batch, "load_model", lambda root, device: model)
    return desk.rows()[:2]


def lines_of(desk: Desk) -> list[dict[str, str]]:
    return [{name: text for name, text in line.items() if name != "seconds"} for line in desk.summary()]


def finished(desk: Desk, rows: list[PairRow]) -> int:
    """Number of pairs that count as done with the options of ``rows``; nothing that looks whole is not."""
    done = 0
    for row in rows:
        folder = desk.out / row.name
        for path in folder.glob("[!.]*.json"):
            json.loads(path.read_text())
        if count_outcomes([row], desk.out)["succeeded"]:
            seed = json.loads((folder / "pair.json").read_text())["key"]["seed"]
            assert (folder / "warped.nii.gz").read_text() == f"report True, seed {seed}"
            done += seed == row.options.seed
    if (desk.out / "summary.csv").exists():
        assert all(line["verdict"] == "succeeded" for line in desk.summary())
    return done


def killed_at(step: int, rows: list[PairRow], out: Path) -> bool:
    """Run in a child that kills itself at its so many-th step within the folder; False if it ended before."""
    child = os.fork()
    if child == 0:
        steps = iter(range(sys.maxsize))

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            steps_on_disk = ("open", "os.rename", "os.remove", "os.mkdir")
            if event in steps_on_disk and str(out) in str(arguments[0]) and next(steps) == step:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(hook)
            run_batch(rows, out)
            os._exit(0)
        except BaseException:
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or status == 0
    return os.WIFSIGNALED(status)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_kill_at_any_step(desk: Desk, rows: list[PairRow]) -> None:
    """In turn of a first run, and of one that replaces the results of another seed."""
    desk.run(rows)
    expected = lines_of(desk)
    counts: list[int] = []
    while True:
        desk.out = desk.folder / f"out{len(counts)}"
        if len(counts) % 2:
            desk.run([row._replace(options=updated(row.options, {"seed": 9})) for row in rows])
        if not killed_at(len(counts), rows, desk.out):
            break
        counts.append(finished(desk, rows))
        assert len(desk.run(rows)) == 2 - counts[-1]
        assert lines_of(desk) == expected and finished(desk, rows) == 2
    assert len(counts) > 15 and set(counts) == {0, 1, 2}


def full_from(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, steps = os.replace, iter(range(sys.maxsize))

    def full(source: Any, target: Any) -> None:
        if next(steps) >= step:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), target)
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)


@pytest.mark.parametrize("step", range(6))
def test_a_disk_that_is_full_from_some_file_on(
    step: int, desk: Desk, rows: list[PairRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        full_from(step, patch)
        with pytest.raises(DataError, match=r"summary.csv cannot be written \(No space left on device\); give a"):
            run_batch(rows, desk.out)
    done = finished(desk, rows)
    assert not list(desk.out.rglob(".*")) and not (desk.out / "summary.csv").exists()
    assert len(desk.run(rows)) == 2 - done and finished(desk, rows) == 2
