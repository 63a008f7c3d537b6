"""A run of either bundle, killed in a phase and resumed by ``--resume True``, ends as an uninterrupted one."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.bundle import ConfigWorkflow

MakeWorkflow = Callable[..., ConfigWorkflow]
Run = Callable[..., None]
CLOCK = {"seconds", "val_seconds"}


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def run(bundle: Path, make_workflow: MakeWorkflow, weights: Path) -> Run:
    """``run(root, resume=False, killed_in="")`` with two epochs a phase, on a coarse grid."""

    def kill() -> None:
        raise Killed

    def run(root: Path, resume: bool = False, killed_in: str = "") -> None:
        settings: dict[str, Any] = {"warmup_epochs": 2, "epochs": 2, "spatial_size": [16, 16, 16]}
        workflow = make_workflow(bundle, root, "train", init_weights=str(weights), resume=resume, **settings)
        if killed_in:
            trainer = workflow.parser.get_parsed_content(f"{killed_in}#trainer")
            trainer.add_event_handler(Events.EPOCH_STARTED(once=2), kill)
        workflow.run()

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


@pytest.mark.parametrize("phase", ["warmup", "train"])
def test_resumed_equals_uninterrupted(phase: str, run: Run, whole: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError) as error:
        run(tmp_path, killed_in=phase)
    assert isinstance(error.value.__cause__, Killed)
    assert len(outcome(tmp_path)["curves"]) == (1 if phase == "warmup" else 3)
    run(tmp_path, resume=True)
    assert_same(outcome(tmp_path), outcome(whole))


def test_weights_change_in_each_epoch(whole: Path) -> None:
    """Or the comparison above would be empty."""
    rows = outcome(whole)["curves"]
    assert [row["phase"] + row["epoch"] for row in rows] == ["warmup1", "warmup2", "grpo1", "grpo2"]
    assert len({row["val_mean_dice"] for row in rows}) == 4


def test_finished_run_is_left_as_it_is(run: Run, whole: Path) -> None:
    before = outcome(whole)
    run(whole, resume=True)
    assert_same(outcome(whole), before)
