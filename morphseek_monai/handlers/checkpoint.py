"""Checkpoints that survive a kill: written to a temporary file, then renamed; loaded with ``weights_only=True``."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import nn

from morphseek_monai.data.files import whole


def save_atomically(state: Any, path: str | os.PathLike[str]) -> None:
    """``torch.save`` that leaves either the old file or the new one, never half a file."""
    with whole(path) as temporary, open(temporary, "wb") as file:
        torch.save(state, file)


def load_weights(path: str | os.PathLike[str], network: nn.Module) -> None:
    """Load a state dictionary (bare, or under ``"model"``) into ``network``, strictly.

    Raises:
        FileNotFoundError: When there is no such file.
        ValueError: When the file is no checkpoint, or belongs to another architecture; the message names the first
            differences.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"load_weights() 'path' {path} does not exist; train first, or set the weights' path")
    state = _read(path)
    _load_network(state.get("model", state) if isinstance(state, dict) else state, network, path)


class StrictCheckpointLoader:
    """Load the weights of a network when the engine starts; ``CheckpointLoader`` with errors that name the cure.

    Args:
        path: the weights, see :func:`load_weights`.
        network: where they go.
    """

    def __init__(self, path: str, network: nn.Module) -> None:
        self.path = path
        self.network = network

    def attach(self, engine: Engine) -> None:
        """Register on ``STARTED``."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Load."""
        load_weights(self.path, self.network)


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
            trainer itself is added when this is attached.
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
            save_atomically({**objects, "trainer": {"epoch": epoch, "iteration": engine.state.iteration}}, self.path)

    def remove(self) -> None:
        """Remove the checkpoints that an earlier run left."""
        for path in (self.path, *self.followers):
            Path(path).unlink(missing_ok=True)

    def restore(self, engine: Engine) -> None:
        """Restore all objects and the engine's progress, if there is a checkpoint.

        Raises:
            ValueError: When the checkpoint belongs to another architecture or another set of objects.
        """
        if not os.path.isfile(self.path):
            return
        saved = _read(self.path)
        expected = {*self.state, "trainer"}
        if not isinstance(saved, dict) or set(saved) != expected:
            raise ValueError(
                f"RunCheckpoint: {self.path} must hold {sorted(expected)}, it holds "
                f"{sorted(saved) if isinstance(saved, dict) else type(saved).__name__}; delete it or set resume=False"
            )
        for name, item in self.state.items():
            if isinstance(item, nn.Module):
                _load_network(saved[name], item, self.path)
            else:
                item.load_state_dict(saved[name])
        engine.state.epoch = saved["trainer"]["epoch"]
        engine.state.iteration = saved["trainer"]["iteration"]


def _read(path: str | os.PathLike[str]) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged or untrusted file
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"{path} is not a readable checkpoint of tensors ({reason}); write it again") from error


def _load_network(state: Any, network: nn.Module, path: str | os.PathLike[str]) -> None:
    if not isinstance(state, Mapping):
        raise ValueError(
            f"{path} must hold a state dictionary of {type(network).__name__}, it holds {type(state).__name__}; use "
            "the file that training wrote"
        )
    own = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    other = {name: tuple(value.shape) for name, value in state.items() if isinstance(value, torch.Tensor)}
    differences = [f"{k}: file {other.get(k)}, network {own.get(k)}" for k in own | other if own.get(k) != other.get(k)]
    if differences:
        raise ValueError(
            f"{path} is a checkpoint of another architecture than {type(network).__name__}: {len(differences)} tensors "
            f"differ, first {differences[0]}; use the 'network_def' it was trained with"
        )
    network.load_state_dict(state)
