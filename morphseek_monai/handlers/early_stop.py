"""Early stopping whose state survives a resume, for phases that share an evaluator."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any

from ignite.engine import Engine, Events
from monai.handlers.earlystop_handler import EarlyStopHandler


class EarlyStop(EarlyStopHandler):
    """End a phase after ``patience`` validations without a better metric.

    A :class:`monai.handlers.EarlyStopHandler` that is attached to the trainer, counts when the evaluator has run within
    this trainer's run, and can be put into the state of :class:`RunCheckpoint`: a resumed phase stops where the
    uninterrupted one would, and one that had stopped trains no further. A metric that is NaN (no pair has labels) does
    not count.

    Args:
        patience: validations, not epochs. None (default) never stops, but counts, so that a resumed run may set it.
        evaluator: its ``state.metrics`` decide.
        metric: name of the metric; larger is better.
    """

    _handler: Any  # ignite's EarlyStopping, once there is a trainer

    def __init__(self, patience: int | None, evaluator: Engine, metric: str = "val_mean_dice") -> None:
        super().__init__(
            patience=sys.maxsize if patience is None else patience,
            score_function=lambda engine: float(engine.state.metrics[metric]),
        )
        self.evaluator = evaluator
        self._running = False

    def attach(self, engine: Engine) -> None:
        """Register on the trainer, which it stops, and on the evaluator."""
        self.set_trainer(engine)
        engine.add_event_handler(Events.STARTED, self._run, True)
        engine.add_event_handler(Events.COMPLETED, self._run, False)
        self.evaluator.add_event_handler(Events.COMPLETED, self)

    def _run(self, running: bool) -> None:
        self._running = running

    def __call__(self, engine: Engine) -> None:
        """Count a validation, and stop the trainer if it is time."""
        if self._running and not math.isnan(self.score_function(engine)):
            super().__call__(engine)

    def state_dict(self) -> dict[str, float]:
        """Best value so far, and the validations since."""
        best = self._handler.best_score
        return {"best": float("-inf") if best is None else best, "waited": self._handler.counter}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Restore, and stop again a trainer that had been stopped."""
        self._handler.best_score, self._handler.counter = state["best"], int(state["waited"])
        if self._handler.counter >= self.patience:
            self._handler.trainer.terminate()
