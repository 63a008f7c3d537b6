"""Checkpoints of the best network and of the run.

Of several processes, rank 0 writes and all read. What decides (best value, progress) is the same on all of them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events
from torch import nn

from morphseek_monai.networks.weights import load_state, read_tensors, save_atomically


class BestCheckpoint:
    """Write the network's weights whenever a metric of the evaluator improves.

    The file is a bare state dictionary, what ``CheckpointLoader``, ``ckpt_export`` and MONAI Label read. Attach it to
    the evaluator (``validate#handlers``) and put it into the state of :class:`RunCheckpoint`, so that a resumed run
    remembers the best value so far. While no pair has labels the metric is NaN, and the latest weights are kept.

    Args:
        path: file to write, usually ``models/model.pt``.
        network: the network.
        metric: name of the metric in ``engine.state.metrics``; larger is better.
    """

    def __init__(self, path: str, network: nn.Module, metric: str = "val_mean_dice") -> None:
        self.path = path
        self.network = network
        self.metric = metric
        self.best = float("-inf")

    def attach(self, engine: Engine) -> None:
        """Register on the evaluator's ``EPOCH_COMPLETED``."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Save if the metric improved, or if nothing can tell."""
        value = float(engine.state.metrics[self.metric])
        improved = value > self.best
        if improved:
            self.best = value
        if improved or (math.isnan(value) and math.isinf(self.best)):
            save_atomically(self.network.state_dict(), self.path)

    def state_dict(self) -> dict[str, float]:
        """The best value so far."""
        return {"best": self.best}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Restore the best value."""
        self.best = float(state["best"])


class RunCheckpoint:
    """Save everything a trainer needs to go on after each ``interval`` epochs, and restore it.

    Args:
        path: file to write.
        state: objects with ``state_dict``/``load_state_dict``, by name: network, optimizer, loss, scheduler, ...; the
            trainer's progress is added: epoch, iteration and its ``state_dict_user_keys``.
        resume: restore from ``path`` when it exists. Otherwise the file of an earlier run is removed when this one
            starts: an interrupted run must not be resumed from another.
        interval: epochs between two checkpoints; the last epoch is always saved.
        followers: checkpoints of phases that go on from this one; removed with its own.

    Raises:
        TypeError: When ``resume`` is not a bool; ``--resume false`` on a command line arrives as the text "false".
    """

    def __init__(
        self,
        path: str,
        state: Mapping[str, Any],
        resume: bool = False,
        interval: int = 1,
        followers: Sequence[str] = (),
    ) -> None:
        if not isinstance(resume, bool):
            raise TypeError(
                f"RunCheckpoint() 'resume' must be True or False, got {resume!r}; write --resume True or --resume False"
            )
        self.path = path
        self.state = dict(state)
        self.resume = resume
        self.interval = interval
        self.followers = tuple(followers)

    def attach(self, engine: Engine) -> None:
        """Register on ``STARTED`` (restore or remove) and on ``EPOCH_COMPLETED`` (save).

        Restoring waits for the start, because phases share the network: each has to find it as the last one left it.
        """
        engine.add_event_handler(Events.STARTED, self.restore if self.resume else self.remove)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Save if it is time."""
        epoch, last = engine.state.epoch, engine.state.max_epochs
        if epoch % self.interval == 0 or epoch == last:
            objects = {name: item.state_dict() for name, item in self.state.items()}
            names = ("epoch", "iteration", *engine.state_dict_user_keys)
            save_atomically({**objects, "trainer": {name: getattr(engine.state, name) for name in names}}, self.path)

    def remove(self) -> None:
        """Remove the checkpoints that an earlier run left."""
        if idist.get_rank() > 0:
            return
        for path in (self.path, *self.followers):
            Path(path).unlink(missing_ok=True)

    def restore(self, engine: Engine) -> None:
        """Restore all objects and the engine's progress, if there is a checkpoint.

        Raises:
            FileNotFoundError: When some processes see the checkpoint and others do not.
            ValueError: When the checkpoint belongs to another architecture or another set of objects.
        """
        found, processes = int(idist.all_reduce(int(os.path.isfile(self.path)))), idist.get_world_size()
        if 0 < found < processes:
            raise FileNotFoundError(
                f"RunCheckpoint: {self.path} is there for {found} of {processes} processes; put it where all see it"
            )
        if not found:
            return
        saved = read_tensors(self.path)
        expected = {*self.state, "trainer"}
        if not isinstance(saved, dict) or set(saved) != expected:
            raise ValueError(
                f"RunCheckpoint: {self.path} must hold {sorted(expected)}, it holds "
                f"{sorted(saved) if isinstance(saved, dict) else type(saved).__name__}; delete it or set resume=False"
            )
        for name, item in self.state.items():
            if isinstance(item, nn.Module):
                load_state(saved[name], item, self.path)
            else:
                item.load_state_dict(saved[name])
        for name, value in saved["trainer"].items():
            setattr(engine.state, name, value)
