"""Trainers over tiny networks and blobs."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from morphseek_monai.engines import GRPOTrainer, RefinementTrainer, WarmupTrainer
from morphseek_monai.losses import DiffusionLoss, MorphSeekLoss, WarmupLoss
from morphseek_monai.networks import MorphSeekNet
from morphseek_monai.rewards import DiceGain, FoldingPenalty, WeightedReward

from .. import programs

LABELS = 3
MakeTrainer = Callable[..., RefinementTrainer]


@pytest.fixture
def make_trainer(make_net: Callable[..., MorphSeekNet]) -> MakeTrainer:
    """``make_trainer(GRPOTrainer, batches, net=None, epochs=1, optimizer=SGD, lr=0.1, **trainer arguments)``.

    SGD, whose step is the gradient, makes updates comparable.
    """

    def make(
        kind: type[RefinementTrainer],
        batches: Iterable[dict[str, Any]],
        net: MorphSeekNet | None = None,
        epochs: int = 1,
        optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.SGD,
        lr: float = 0.1,
        **kwargs: Any,
    ) -> RefinementTrainer:
        net = make_net() if net is None else net
        warmup = WarmupLoss(nn.MSELoss(), DiffusionLoss(), reg_weight=0.01)
        if kind is GRPOTrainer:
            reward = WeightedReward(
                {"dice": DiceGain(LABELS), "folding": FoldingPenalty()}, {"dice": 1.0, "folding": 1.0}
            )
            kwargs = {"reward": reward, "trajectories": 4, "loss_function": MorphSeekLoss(warmup, LABELS)} | kwargs
        else:
            kwargs = {"loss_function": warmup} | kwargs
        return kind(
            device=torch.device("cpu"),
            max_epochs=epochs,
            train_data_loader=batches,
            network=net,
            optimizer=optimizer(net.parameters(), lr=lr),
            **kwargs,
        )

    return make


@pytest.fixture(params=[WarmupTrainer, GRPOTrainer])
def kind(request: pytest.FixtureRequest) -> type[RefinementTrainer]:
    """Each trainer in turn."""
    trainer: type[RefinementTrainer] = request.param
    return trainer


@pytest.fixture(scope="session")
def launch() -> Callable[..., None]:
    """``launch(folder, *options, processes=1, killed=False)`` runs ``two_phases.py``."""
    program = Path(__file__).with_name("two_phases.py")

    def run(folder: Path, *options: str, processes: int = 1, killed: bool = False) -> None:
        folder.mkdir(exist_ok=True)
        words = [program, folder, *options]
        for done in programs.run_ranks(words, processes) if processes > 1 else [programs.run(words)]:
            assert done.returncode == (-signal.SIGKILL if killed else 0), done.stderr[-2000:]

    return run
