"""When a phase ends early, and that it ends there again after a resume."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from ignite.engine import Engine, Events
from monai.handlers import EarlyStopHandler

from morphseek_monai.handlers import EarlyStop, RunCheckpoint

NAN = float("nan")


class Phase:
    """A trainer whose ``evaluator`` finds the given values, epoch by epoch."""

    def __init__(self, values: Sequence[float], evaluator: Engine, patience: int | None, interval: int = 1) -> None:
        self.trainer = Engine(lambda engine, batch: None)
        self.stop = EarlyStop(patience, evaluator)

        def validate() -> None:
            evaluator.state.metrics = {"val_mean_dice": values[self.trainer.state.epoch - 1]}
            evaluator.run([0])

        self.trainer.add_event_handler(Events.EPOCH_COMPLETED(every=interval), validate)
        self.length = len(values)

    def run(self, checkpoint: Path | None = None, resume: bool = False, epochs: int | None = None) -> int:
        """Train; returns the last epoch."""
        if checkpoint is not None:
            RunCheckpoint(str(checkpoint), {"stop": self.stop}, resume=resume).attach(self.trainer)
        self.stop.attach(self.trainer)
        self.trainer.run([0], max_epochs=epochs or self.length)
        return self.trainer.state.epoch


@pytest.fixture
def evaluator() -> Engine:
    return Engine(lambda engine, batch: None)


@pytest.mark.parametrize(
    ("values", "patience", "last"),
    [
        ([0.1, 0.2, 0.2, 0.1, 0.3, 0.4], 2, 4),
        ([0.1, 0.2, 0.2, 0.1, 0.3, 0.4], 3, 6),
        ([0.5, 0.4, 0.6, 0.4, 0.5, 0.5, 0.9], 3, 6),
        ([0.5, 0.4, 0.4], 1, 2),
        ([0.5, 0.4, 0.3, 0.2], None, 4),
        ([NAN, NAN, NAN, NAN], 2, 4),
        ([0.5, NAN, 0.4, NAN, 0.3, 0.9], 2, 5),
    ],
)
def test_stops_after_so_many_validations_without_a_better_one(
    values: list[float], patience: int | None, last: int, evaluator: Engine
) -> None:
    phase = Phase(values, evaluator, patience)
    assert isinstance(phase.stop, EarlyStopHandler)
    assert phase.run() == last


def test_patience_counts_validations_not_epochs(evaluator: Engine) -> None:
    assert Phase([0.5] * 20, evaluator, patience=2, interval=3).run() == 9


def test_phases_do_not_count_each_others_validations(evaluator: Engine) -> None:
    first, second = Phase([0.9, 0.8, 0.7, 0.6], evaluator, 2), Phase([0.5, 0.4, 0.6, 0.5, 0.4, 0.3], evaluator, 2)
    for phase in (first, second):
        phase.stop.attach(phase.trainer)  # both before either runs, as in a bundle
    for phase in (first, second):
        phase.trainer.run([0], max_epochs=phase.length)
    assert (first.trainer.state.epoch, second.trainer.state.epoch) == (3, 5)


def test_resumed_run_stops_where_the_uninterrupted_one_does(evaluator: Engine, tmp_path: Path) -> None:
    values = [0.2, 0.5, 0.4, 0.3, 0.4, 0.6, 0.7]
    assert Phase(values, evaluator, 3).run() == 5
    assert Phase(values, evaluator, 3).run(tmp_path / "run.pt", epochs=3) == 3
    assert Phase(values, evaluator, 3).run(tmp_path / "run.pt", resume=True) == 5


def test_stopped_run_trains_no_further(evaluator: Engine, tmp_path: Path) -> None:
    values = [0.5, 0.4, 0.3, 0.9, 0.8]
    assert Phase(values, evaluator, 2).run(tmp_path / "run.pt") == 3
    again = Phase(values, evaluator, 2)
    again.trainer.add_event_handler(Events.EPOCH_STARTED, lambda: pytest.fail("it had been stopped"))
    assert again.run(tmp_path / "run.pt", resume=True) == 3
    assert Phase(values, evaluator, None).run(tmp_path / "run.pt", resume=True) == 5


def test_state_before_the_first_validation(evaluator: Engine, tmp_path: Path) -> None:
    phase = Phase([0.1, 0.2], evaluator, 1, interval=2)
    phase.run(tmp_path / "run.pt", epochs=1)
    assert phase.stop.state_dict() == {"best": float("-inf"), "waited": 0}
    resumed = Phase([0.1, 0.2, 0.2, 0.2], evaluator, 1)
    assert resumed.run(tmp_path / "run.pt", resume=True) == 3
