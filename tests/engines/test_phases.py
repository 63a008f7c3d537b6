"""Which phases run, in what order, and with whose weights, also after an interruption."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from ignite.engine import Events
from torch import Tensor
from torch.nn.utils import parameters_to_vector

from morphseek_monai.engines import GRPOTrainer, RefinementTrainer, WarmupTrainer, run_phases
from morphseek_monai.handlers import RunCheckpoint

KINDS = {"warmup": WarmupTrainer, "grpo": GRPOTrainer}


class Killed(Exception):
    pass


class Run(NamedTuple):
    """Two trainers of two epochs that share a network, and what they did."""

    trainers: dict[str, RefinementTrainer]
    ran: list[str]  # a phase for each epoch
    begun: dict[str, Tensor]  # the weights that the first epoch of a phase found

    def weights(self) -> Tensor:
        return parameters_to_vector(self.trainers["grpo"].network.parameters()).detach().clone()


@pytest.fixture
def make_run(
    make_net: Callable[..., Any], make_trainer: Callable[..., RefinementTrainer], make_batch: Any, tmp_path: Path
) -> Callable[..., Run]:
    """``make_run(resume=False, built=("warmup", "grpo"), kill="")``; ``kill`` names a phase to die in its epoch 2."""

    def kill() -> None:
        raise Killed

    def make(resume: bool = False, built: Sequence[str] = ("warmup", "grpo"), kill_in: str = "") -> Run:
        net = make_net()
        run = Run({}, [], {})

        def begin(name: str) -> None:
            run.begun.setdefault(name, run.weights())

        made = {}
        for name in built:
            trainer = make_trainer(KINDS[name], [make_batch(size=8)], net, epochs=2)
            state = {"model": net, "optimizer": trainer.optimizer}
            RunCheckpoint(str(tmp_path / f"{name}.pt"), state, resume=resume).attach(trainer)
            trainer.add_event_handler(Events.EPOCH_STARTED, begin, name)
            trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda name: run.ran.append(name), name)
            if name == kill_in:
                trainer.add_event_handler(Events.EPOCH_STARTED(once=2), kill)
            made[name] = trainer
        run.trainers.update({name: made[name] for name in KINDS})
        return run

    return make


@pytest.mark.parametrize(
    ("phase", "expected"),
    [("all", ["warmup"] * 2 + ["grpo"] * 2), ("warmup", ["warmup"] * 2), ("grpo", ["grpo"] * 2)],
)
def test_chosen_phases_run_in_order(phase: str, expected: list[str], make_run: Callable[..., Run]) -> None:
    run = make_run()
    run_phases(phase, run.trainers)
    assert run.ran == expected


def test_unknown_phase(make_run: Callable[..., Run]) -> None:
    run = make_run()
    with pytest.raises(ValueError, match=r"run_phases\(\) 'phase' must be 'all' or one of \['grpo', .*, got 'x'"):
        run_phases("x", run.trainers)
    assert not run.ran


@pytest.mark.parametrize("built", [("warmup", "grpo"), ("grpo", "warmup")])
def test_finished_phases_hand_their_weights_on(built: tuple[str, ...], make_run: Callable[..., Run]) -> None:
    first = make_run()
    run_phases("all", first.trainers)
    assert not torch.equal(first.begun["grpo"], first.weights())
    resumed = make_run(resume=True, built=built)
    assert not torch.equal(resumed.weights(), first.weights())
    run_phases("all", resumed.trainers)
    assert resumed.ran == []
    assert torch.equal(resumed.weights(), first.weights())


@pytest.mark.parametrize("phase", ["all", "grpo"])
def test_finished_warmup_alone(phase: str, make_run: Callable[..., Run]) -> None:
    """GRPO starts from the warm-up's weights, if the warm-up belongs to the chosen phases."""
    first = make_run()
    run_phases("warmup", first.trainers)
    resumed = make_run(resume=True, built=("grpo", "warmup"))
    fresh = resumed.weights()
    run_phases(phase, resumed.trainers)
    assert resumed.ran == ["grpo"] * 2
    assert torch.equal(resumed.begun["grpo"], first.weights() if phase == "all" else fresh)


@pytest.mark.parametrize(("kill_in", "left"), [("warmup", ["warmup", "grpo", "grpo"]), ("grpo", ["grpo"])])
def test_killed_run_goes_on(kill_in: str, left: list[str], make_run: Callable[..., Run], tmp_path: Path) -> None:
    whole = make_run()
    run_phases("all", whole.trainers)
    for file in tmp_path.iterdir():
        file.unlink()
    killed = make_run(kill_in=kill_in)
    with pytest.raises(Killed):
        run_phases("all", killed.trainers)
    assert not torch.equal(killed.weights(), whole.weights())
    resumed = make_run(resume=True, built=("grpo", "warmup"))
    run_phases("all", resumed.trainers)
    assert resumed.ran == left
    assert torch.equal(resumed.weights(), whole.weights())
    assert [trainer.state.iteration for trainer in resumed.trainers.values()] == [2, 2]
