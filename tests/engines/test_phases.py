"""Which phases run, and in what order."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from ignite.engine import Events

from morphseek_monai.engines import GRPOTrainer, RefinementTrainer, WarmupTrainer, run_phases

Setup = tuple[dict[str, RefinementTrainer], list[str]]


@pytest.fixture
def setup(make_trainer: Callable[..., RefinementTrainer], make_batch: Callable[..., dict[str, Any]]) -> Setup:
    """Two trainers of two epochs, and the names of the epochs that were run."""
    ran: list[str] = []
    trainers = {}
    for name, kind in (("warmup", WarmupTrainer), ("grpo", GRPOTrainer)):
        trainers[name] = make_trainer(kind, [make_batch(size=8)], epochs=2)
        trainers[name].add_event_handler(Events.EPOCH_COMPLETED, lambda name: ran.append(name), name)
    return trainers, ran


@pytest.mark.parametrize(
    ("phase", "expected"),
    [("all", ["warmup"] * 2 + ["grpo"] * 2), ("warmup", ["warmup"] * 2), ("grpo", ["grpo"] * 2)],
)
def test_chosen_phases_run_in_order(phase: str, expected: list[str], setup: Setup) -> None:
    trainers, ran = setup
    run_phases(phase, trainers)
    assert ran == expected


@pytest.mark.parametrize("phase", ["all", "warmup"])
def test_finished_phase_is_not_started_anew(phase: str, setup: Setup, caplog: pytest.LogCaptureFixture) -> None:
    trainers, ran = setup
    state = trainers["warmup"].state
    state.epoch = state.iteration = 2  # as restored from a checkpoint
    with caplog.at_level(logging.INFO):
        run_phases(phase, trainers)
    assert ran == (["grpo"] * 2 if phase == "all" else [])
    assert "phase warmup is complete (2 of 2 epochs): skipped" in caplog.text


def test_half_finished_phase_goes_on(setup: Setup) -> None:
    trainers, ran = setup
    trainers["warmup"].state.epoch = trainers["warmup"].state.iteration = 1
    run_phases("warmup", trainers)
    assert ran == ["warmup"]
    assert trainers["warmup"].state.iteration == 2


def test_unknown_phase(setup: Setup) -> None:
    trainers, ran = setup
    with pytest.raises(ValueError, match=r"run_phases\(\) 'phase' must be 'all' or one of \['grpo', .*, got 'x'"):
        run_phases("x", trainers)
    assert not ran
