"""A run of either bundle, killed in a phase and resumed by ``--resume True``, ends as an uninterrupted one."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.bundle import ConfigWorkflow

MakeWorkflow = Callable[..., ConfigWorkflow]
Run = Callable[..., list[str]]
CLOCK = {"seconds", "val_seconds"}


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def run(bundle: Path, make_workflow: MakeWorkflow, weights: Path) -> Run:
    """``run(root, resume=False, killed_in="", seed=0)`` trains two epochs a phase and names those that were run."""

    def kill() -> None:
        raise Killed

    def run(root: Path, resume: bool = False, killed_in: str = "", seed: int = 0) -> list[str]:
        settings: dict[str, Any] = {"warmup_epochs": 2, "epochs": 2, "spatial_size": [16, 16, 16], "seed": seed}
        workflow = make_workflow(bundle, root, "train", init_weights=str(weights), resume=resume, **settings)
        ran: list[str] = []
        for phase, id_ in (("warmup", "warmup#trainer"), ("grpo", "train#trainer")):
            trainer = workflow.parser.get_parsed_content(id_)
            trainer.add_event_handler(Events.EPOCH_STARTED, lambda engine, name: ran.append(name), phase)
            if phase == killed_in:
                trainer.add_event_handler(Events.EPOCH_STARTED(once=2), kill)
        workflow.run()
        return ran

    return run


@pytest.fixture(scope="module")
def whole(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without interruption."""
    root = tmp_path_factory.mktemp("whole")
    run(root)
    return root


def outcome(root: Path) -> dict[str, Any]:
    """Weights, optimisers, schedules and learning curves, without times."""
    with open(root / "eval" / "curves.csv", newline="") as file:
        rows = [{k: v for k, v in row.items() if k not in CLOCK} for row in csv.DictReader(file)]
    return {path.name: torch.load(path) for path in (root / "models").iterdir()} | {"curves": rows}


def assert_same(a: Any, b: Any) -> None:
    """Bit for bit."""
    assert a.pop("curves") == b.pop("curves")
    torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize(("phase", "left"), [("warmup", ["warmup", "grpo", "grpo"]), ("grpo", ["grpo"])])
def test_resumed_equals_uninterrupted(phase: str, left: list[str], run: Run, whole: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError) as error:
        run(tmp_path, killed_in=phase)
    assert isinstance(error.value.__cause__, Killed)
    assert len(outcome(tmp_path)["curves"]) == 4 - len(left)
    assert run(tmp_path, resume=True) == left
    assert_same(outcome(tmp_path), outcome(whole))


def test_earlier_run_is_not_resumed(run: Run, whole: Path, tmp_path: Path) -> None:
    """Killed in its warm-up, a new run must not take over the finished GRPO of the one before."""
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    with pytest.raises(RuntimeError):
        run(tmp_path, killed_in="warmup", seed=1)
    assert run(tmp_path, resume=True, seed=1) == ["warmup", "grpo", "grpo"]


def test_weights_change_in_each_epoch(whole: Path) -> None:
    """Or the comparison above would be empty."""
    rows = outcome(whole)["curves"]
    assert [row["phase"] + row["epoch"] for row in rows] == ["warmup1", "warmup2", "grpo1", "grpo2"]
    assert len({row["val_mean_dice"] for row in rows}) == 4


def test_finished_run_is_left_as_it_is(run: Run, whole: Path) -> None:
    before = outcome(whole)
    assert run(whole, resume=True) == []
    assert_same(outcome(whole), before)
