"""Warm-up: unsupervised, deterministic steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from ignite.engine import Events

from morphseek_monai.engines import RefinementTrainer, WarmupTrainer, prepare_pairs
from morphseek_monai.networks import MorphSeekNet

MakeNet = Callable[..., MorphSeekNet]
MakeBatch = Callable[..., dict[str, Any]]
MakeTrainer = Callable[..., RefinementTrainer]


@pytest.mark.parametrize("policy", ["gaussian", "none"])
def test_warmup_overfits_a_pair(
    policy: str, make_net: MakeNet, make_trainer: MakeTrainer, make_batch: MakeBatch
) -> None:
    """The blob moved by 2 voxels along each axis must come back: most of the squared difference goes."""
    net = make_net(steps=2, policy=policy, flow_std=1e-5)
    similarity: list[float] = []
    trainer = make_trainer(WarmupTrainer, [make_batch()] * 60, net, optimizer=torch.optim.Adam, lr=0.01)
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda e: similarity.append(e.state.output[0]["terms"]["similarity"])
    )
    trainer.run()
    assert similarity[-1] < 0.3 * similarity[0]
    middle = net(make_batch()["image"])[0, :, 5:9, 5:9, 5:9]
    assert (middle.mean((1, 2, 3)) > 0.8).all()  # towards +shift on every axis


@pytest.mark.parametrize("policy", ["gaussian", "none"])
def test_step_is_the_deterministic_step(
    policy: str, make_net: MakeNet, make_trainer: MakeTrainer, make_batch: MakeBatch
) -> None:
    net, batch = make_net(policy=policy), make_batch()
    trainer = make_trainer(WarmupTrainer, [batch], net)
    ddf = torch.rand(1, 3, 16, 16, 16, generator=torch.Generator().manual_seed(1))
    result = trainer.refine(prepare_pairs(batch).pair(0), ddf, torch.Generator().manual_seed(0))
    torch.testing.assert_close(result.ddf, net.step(batch["image"][:, :1], batch["image"][:, 1:], ddf))
    assert result.objective.requires_grad
    assert ("sigma" in result.terms) == (policy == "gaussian")


def test_labels_play_no_part(make_net: MakeNet, make_trainer: MakeTrainer, make_batch: MakeBatch) -> None:
    def train(batch: dict[str, Any]) -> list[torch.Tensor]:
        trainer = make_trainer(WarmupTrainer, [batch])
        trainer.run()
        return list(trainer.network.parameters())

    with_labels, without = train(make_batch()), train({"image": make_batch()["image"]})
    assert all(torch.equal(a, b) for a, b in zip(with_labels, without))


def test_network_without_policy_trains(make_net: MakeNet, make_trainer: MakeTrainer, make_batch: MakeBatch) -> None:
    trainer = make_trainer(WarmupTrainer, [make_batch()], make_net(policy="none"))
    trainer.run()
    assert trainer.state.output[0]["terms"]["kl"] == 0
    assert "sigma" not in trainer.state.output[0]["terms"]
