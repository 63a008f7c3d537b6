"""Learning curves as a table: one CSV row per epoch."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
from ignite.engine import Engine, Events

from morphseek_monai.base.records import read_csv, write_csv


class CurveLog:
    """Append a row per epoch: phase, epoch, iteration, seconds, mean of each loss term, metrics of the evaluator.

    Attach it to the trainer after its ``ValidationHandler``. Phases share one file; a resumed or repeated phase
    replaces its own rows from the epoch it goes on with. Of several processes, rank 0 writes.

    Args:
        path: the CSV file.
        phase: name of the phase, first column.
        evaluator: its ``state.metrics`` fill the columns of the epochs in which it ran; None leaves them out.
    """

    def __init__(self, path: str, phase: str, evaluator: Engine | None = None) -> None:
        self.path = Path(path)
        self.phase = phase
        self.evaluator = evaluator
        self._terms: list[dict[str, float]] = []
        self._began = 0.0
        self._evaluated = 0

    def attach(self, engine: Engine) -> None:
        """Register on the trainer and, to know when it ran, on the evaluator."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._started)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)
        if self.evaluator is not None:
            self.evaluator.add_event_handler(Events.COMPLETED, self._evaluation)

    def _started(self) -> None:
        self._terms, self._began, self._evaluated = [], time.perf_counter(), 0

    def _collect(self, engine: Engine) -> None:
        output: Any = engine.state.output
        self._terms.append(output[0]["terms"])

    def _evaluation(self) -> None:
        self._evaluated += 1

    def __call__(self, engine: Engine) -> None:
        """Write the epoch's row."""
        if idist.get_rank() > 0:
            return
        row: dict[str, Any] = {
            "phase": self.phase,
            "epoch": engine.state.epoch,
            "iteration": engine.state.iteration,
            "seconds": round(time.perf_counter() - self._began, 2),
        }
        for name in sorted({name for terms in self._terms for name in terms}):
            values = np.array([terms[name] for terms in self._terms if name in terms])
            # a skipped iteration is not finite, and is counted in its own column
            row[name] = float(values[np.isfinite(values)].mean()) if np.isfinite(values).any() else float("nan")
        if self.evaluator is not None and self._evaluated:
            row |= {name: value for name, value in self.evaluator.state.metrics.items() if np.isscalar(value)}
        earlier = read_csv(self.path)
        kept = [r for r in earlier if r["phase"] != self.phase or int(r["epoch"]) < engine.state.epoch]
        write_csv(self.path, [*kept, row])
