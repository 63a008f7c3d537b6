"""Files of tensors that survive a kill: written aside, then renamed; loaded with ``weights_only=True``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pickle import UnpicklingError
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from torch import nn

from morphseek_monai.base.files import atomic_output


def save_atomically(state: Any, path: str | os.PathLike[str]) -> None:
    """``torch.save`` that leaves either the old file or the new one, never half a file; on rank 0.

    Raises:
        DataError: the file cannot be written, as on a full disk.
    """
    if idist.get_rank() > 0:
        return
    with atomic_output(path) as temporary, open(temporary, "wb") as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:  # PyTorch's writer complains of its own state where the disk is full
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise


def load_weights(path: str | os.PathLike[str], network: nn.Module) -> None:
    """Load a state dictionary (bare, or under ``"model"``) into ``network``, strictly.

    Raises:
        FileNotFoundError: When there is no such file.
        ValueError: When the file is no checkpoint, or belongs to another architecture; the message names the first
            differences.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"load_weights() 'path' {path} does not exist; train first, or set the weights' path")
    state = read_tensors(path)
    load_state(state.get("model", state) if isinstance(state, dict) else state, network, path)


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


def read_tensors(path: str | os.PathLike[str]) -> Any:
    """``torch.load`` that unpickles no code.

    Raises:
        ValueError: When the file is damaged, or holds more than tensors and plain values.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged or untrusted file
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if isinstance(error, UnpicklingError):  # its text advises to let the file run its code
            reason = "damaged, or it holds more than tensors"
        raise ValueError(f"{path} is not a readable checkpoint of tensors ({reason}); write it again") from error


def load_state(state: Any, network: nn.Module, path: str | os.PathLike[str]) -> None:
    """Load ``state``, which was read from ``path``, into ``network``, strictly.

    Raises:
        ValueError: When it is the state of something else; the message names the first difference.
    """
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
