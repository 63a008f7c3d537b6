"""Iterations that are not finite change nothing, are counted and named, and do not go on for ever."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from ignite.engine import Events
from torch import Tensor, nn

from morphseek_monai.engines import RefinementTrainer, WarmupTrainer
from morphseek_monai.losses import WarmupTerms
from morphseek_monai.networks import MorphSeekNet

MakeNet = Callable[..., MorphSeekNet]
MakeBatch = Callable[..., dict[str, Any]]
MakeTrainer = Callable[..., RefinementTrainer]


def flat(net: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def broken(batch: dict[str, Any], pair: int = 0) -> dict[str, Any]:
    image = batch["image"].clone()
    image[pair, 1, 3, 3, 3] = torch.nan
    return batch | {"image": image}


class InfiniteSlope(nn.Module):
    """A finite objective whose gradient is not: sqrt at 0."""

    def forward(self, moving: Tensor, fixed: Tensor, ddf: Tensor, *_: Any) -> WarmupTerms:
        total = (0 * ddf).sum().sqrt()
        return WarmupTerms(total, total, total, total)


class InfiniteValue(nn.Module):
    """An objective that is not finite, whose gradient is."""

    def forward(self, moving: Tensor, fixed: Tensor, ddf: Tensor, *_: Any) -> WarmupTerms:
        total = ddf.mean() + float("inf")
        return WarmupTerms(total, total, total, total)


@pytest.mark.parametrize("pair", [0, 1])
def test_nan_image_is_skipped_counted_and_named(
    pair: int,
    kind: type[RefinementTrainer],
    make_net: MakeNet,
    make_trainer: MakeTrainer,
    make_batch: MakeBatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    net = make_net(steps=2)
    before = flat(net)
    trainer = make_trainer(kind, [broken(make_batch(2), pair)], net, optimizer=torch.optim.Adam)
    with caplog.at_level(logging.WARNING):
        trainer.run()
    assert torch.equal(flat(net), before)
    assert not trainer.optimizer.state
    assert trainer.state.skipped == trainer.state.output[0]["terms"]["skipped"] == 1
    assert "iteration 1 skipped: not finite" in caplog.text
    assert "[('moving0', 'fixed0'), ('moving1', 'fixed1')]" in caplog.text


@pytest.mark.parametrize("loss", [InfiniteSlope(), InfiniteValue()], ids=["gradient", "objective"])
def test_infinity_is_skipped(
    loss: nn.Module, make_net: MakeNet, make_trainer: MakeTrainer, make_batch: MakeBatch
) -> None:
    net = make_net()
    before = flat(net)
    trainer = make_trainer(WarmupTrainer, [make_batch()], net, loss_function=loss)
    trainer.run()
    assert torch.equal(flat(net), before)
    assert trainer.state.skipped == 1


def test_training_goes_on_after_a_skipped_iteration(
    kind: type[RefinementTrainer], make_net: MakeNet, make_trainer: MakeTrainer, make_batch: MakeBatch
) -> None:
    net = make_net()
    before = flat(net)
    batches = [broken(make_batch()), make_batch()] * 3
    trainer = make_trainer(kind, batches, net, max_skipped=2)  # three in all, never two in a row
    trainer.run()
    assert trainer.state.skipped == 3
    assert flat(net).isfinite().all()
    assert not torch.equal(flat(net), before)


def test_too_many_in_a_row_stop_the_run_with_names(
    kind: type[RefinementTrainer], make_trainer: MakeTrainer, make_batch: MakeBatch
) -> None:
    batches = [make_batch(), broken(make_batch(first=4)), broken(make_batch(first=5)), make_batch()]
    trainer = make_trainer(kind, batches, max_skipped=2)
    message = rf"{kind.__name__}: 2 iterations in a row were not finite, last pairs .*\('moving5', 'fixed5'\)\]; lower"
    with pytest.raises(RuntimeError, match=message):
        trainer.run()
    assert trainer.state.iteration == 3


def test_pairs_without_names_are_no_obstacle(make_trainer: MakeTrainer, make_batch: MakeBatch) -> None:
    trainer = make_trainer(WarmupTrainer, [{"image": broken(make_batch())["image"]}])
    trainer.run()
    assert trainer.state.skipped == 1


@pytest.mark.parametrize("pair", [0, 1])
def test_loss_scaling_survives_a_first_iteration_that_is_not_finite(
    pair: int, make_net: MakeNet, make_trainer: MakeTrainer, make_batch: MakeBatch
) -> None:
    """float16 on CUDA needs a gradient scaler; here it is put in by hand."""
    good = make_batch(2)
    plain, scaled = (
        make_trainer(WarmupTrainer, [broken(good, pair), good], make_net(), max_grad_norm=1e-3) for _ in range(2)
    )
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaled.add_event_handler(Events.STARTED, lambda trainer: setattr(trainer, "scaler", scaler))
    plain.run()
    scaled.run()
    assert scaler.get_scale() == 512.0  # an overflow looks the same
    assert scaled.state.skipped == 1
    torch.testing.assert_close(flat(scaled.network), flat(plain.network))
    for trainer in (plain, scaled):
        assert (flat(trainer.network) - flat(make_net())).norm().item() == pytest.approx(1e-4, rel=0.05)
