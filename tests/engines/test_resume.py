"""A run killed between two epochs and resumed from its checkpoint ends as one that was never interrupted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from ignite.engine import Engine, Events
from monai.data import DataLoader
from monai.handlers import LrScheduleHandler
from torch.optim.lr_scheduler import CosineAnnealingLR

from morphseek_monai.data import PairDataset
from morphseek_monai.engines import GRPOTrainer, RefinementTrainer
from morphseek_monai.handlers import RunCheckpoint, TargetKL

EPOCHS = 4


class Killed(Exception):
    pass


class Outcome(NamedTuple):
    trainer: RefinementTrainer
    state: dict[str, Any]
    pairs: list[Any]


@pytest.fixture
def run(make_net: Any, make_trainer: Any, make_batch: Any, kind: type[RefinementTrainer]) -> Callable[..., Outcome]:
    """Train with all that changes on the way: Adam, schedule, KL weight, random pairs."""
    batch = make_batch(5)
    subjects = [{"image": batch["image"][i, :1], "label": batch["label"][i, :1], "id": f"s{i}"} for i in range(5)]
    pairs: list[Any] = []

    def note(engine: Engine) -> None:
        pairs.append((engine.state.batch["moving_id"], engine.state.batch["fixed_id"]))

    def kill() -> None:
        raise Killed

    def train(path: Path, resume: bool = False, killed_in: int = 0, epochs: int = EPOCHS) -> Outcome:
        torch.manual_seed(killed_in)  # the global generator must not matter
        loader = DataLoader(PairDataset(subjects, mode="random", length=2), batch_size=1)
        net = make_net(steps=2)
        trainer = make_trainer(kind, loader, net, epochs=epochs, optimizer=torch.optim.Adam, lr=0.01)
        loss = trainer.loss_function.warmup if kind is GRPOTrainer else trainer.loss_function
        schedule = CosineAnnealingLR(trainer.optimizer, T_max=EPOCHS)
        state = {"model": net, "optimizer": trainer.optimizer, "scheduler": schedule, "loss": loss}
        for handler in (
            LrScheduleHandler(schedule, print_lr=False),
            TargetKL(loss, target=0.5),
            RunCheckpoint(str(path), state, resume=resume),
        ):
            handler.attach(trainer)
        pairs.clear()
        trainer.add_event_handler(Events.ITERATION_STARTED, note)
        if killed_in:
            trainer.add_event_handler(Events.EPOCH_STARTED(once=killed_in), kill)
        trainer.run()
        return Outcome(trainer, {name: item.state_dict() for name, item in state.items()}, list(pairs))

    return train


def assert_same(a: Any, b: Any) -> None:
    """Bit for bit."""
    torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_resumed_equals_uninterrupted(run: Callable[..., Outcome], tmp_path: Path) -> None:
    whole = run(tmp_path / "whole.pt")
    assert len(set(map(str, whole.pairs))) > 2
    assert whole.state["loss"]["kl_weight"].item() == pytest.approx(1e-4 * 1.02**8)
    with pytest.raises(Killed):
        run(tmp_path / "killed.pt", killed_in=3)
    resumed = run(tmp_path / "killed.pt", resume=True)
    assert resumed.pairs == whole.pairs[4:]
    assert (resumed.trainer.state.epoch, resumed.trainer.state.iteration) == (4, 8)
    assert_same(resumed.state, whole.state)
    assert_same(torch.load(tmp_path / "killed.pt"), torch.load(tmp_path / "whole.pt"))


def test_without_resume_the_checkpoint_is_not_read(run: Callable[..., Outcome], tmp_path: Path) -> None:
    first = run(tmp_path / "run.pt")
    second = run(tmp_path / "run.pt")
    assert (len(second.pairs), second.trainer.state.epoch) == (8, 4)
    assert_same(second.state, first.state)


def test_resume_without_a_checkpoint_starts_at_the_beginning(run: Callable[..., Outcome], tmp_path: Path) -> None:
    outcome = run(tmp_path / "none.pt", resume=True)
    assert (len(outcome.pairs), outcome.trainer.state.epoch) == (8, 4)


def test_finished_run_restores_and_trains_no_further(run: Callable[..., Outcome], tmp_path: Path) -> None:
    whole = run(tmp_path / "run.pt")
    written = (tmp_path / "run.pt").stat().st_mtime_ns
    again = run(tmp_path / "run.pt", resume=True)
    assert (again.pairs, again.trainer.state.epoch, again.trainer.state.iteration) == ([], 4, 8)
    assert_same(again.state, whole.state)
    assert (tmp_path / "run.pt").stat().st_mtime_ns == written


def test_more_epochs_than_the_finished_run_had(run: Callable[..., Outcome], tmp_path: Path) -> None:
    run(tmp_path / "run.pt")
    longer = run(tmp_path / "run.pt", resume=True, epochs=EPOCHS + 1)
    assert (len(longer.pairs), longer.trainer.state.epoch) == (2, EPOCHS + 1)
