"""Evaluation: metrics by MONAI's handlers, time per pair, unlabelled pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.engines import SupervisedEvaluator
from monai.handlers import IgniteMetricHandler, from_engine

from morphseek_monai.engines import RegistrationEvaluator
from morphseek_monai.metrics import FoldingPercent, RegistrationDice
from morphseek_monai.networks import MorphSeekNet

MakeNet = Callable[..., MorphSeekNet]
MakeBatch = Callable[..., dict[str, Any]]


def evaluate(net: MorphSeekNet, batches: list[dict[str, Any]], **kwargs: Any) -> RegistrationEvaluator:
    handlers = {
        name: IgniteMetricHandler(metric_fn=metric, output_transform=from_engine(["pred", "label"]))
        for name, metric in (("dice", RegistrationDice(3)), ("njd", FoldingPercent()))
    }
    evaluator = RegistrationEvaluator(
        device=torch.device("cpu"),
        val_data_loader=batches,
        network=net,
        key_val_metric={"dice": handlers["dice"]},
        additional_metrics={"njd": handlers["njd"]},
        **kwargs,
    )
    evaluator.run()
    return evaluator


def dice(net: MorphSeekNet, batch: dict[str, Any]) -> float:
    with torch.no_grad():
        ddf = net(batch["image"])
    value = RegistrationDice(3)(ddf, batch["label"])
    return float(value.nanmean())


def test_metrics_are_the_mean_over_pairs(make_net: MakeNet, make_batch: MakeBatch) -> None:
    net = make_net(steps=2, flow_std=2.0)
    evaluator = evaluate(net, [make_batch(2), make_batch(1, first=2)])
    assert isinstance(evaluator, SupervisedEvaluator)
    expected = sum(dice(net, make_batch(first=i)) for i in range(3)) / 3
    still = sum(dice(make_net(flow_std=1e-5), make_batch(first=i)) for i in range(3)) / 3
    assert evaluator.state.metrics["dice"] == pytest.approx(expected, abs=1e-4)
    assert abs(expected - still) > 0.01
    assert 0 <= evaluator.state.metrics["njd"] < 100
    assert evaluator.state.metric_details["dice"].shape == (3, 2)


def test_unlabelled_pairs_do_not_count_for_dice(make_net: MakeNet, make_batch: MakeBatch) -> None:
    net = make_net()
    unlabelled = make_batch(first=1, labelled=False)
    unlabelled["label"] = torch.zeros_like(unlabelled["label"])  # what PairDataset hands over
    without = {"image": make_batch(first=2)["image"]}
    state = evaluate(net, [make_batch(), unlabelled, without]).state
    assert state.metrics["dice"] == pytest.approx(dice(net, make_batch()), abs=1e-4)
    assert state.metric_details["njd"].shape == (3, 1)


def test_output_of_a_pair(make_net: MakeNet, make_batch: MakeBatch) -> None:
    net, batch, outputs = make_net(steps=2), make_batch(2), []
    collect = (Events.ITERATION_COMPLETED, lambda engine: outputs.append(engine.state.output))

    class Collect:
        def attach(self, engine: Any) -> None:
            engine.add_event_handler(*collect)

    evaluate(net, [batch], val_handlers=[Collect()])
    (pairs,) = outputs
    assert len(pairs) == 2
    with torch.no_grad():
        expected = net(batch["image"])
    for i, pair in enumerate(pairs):
        torch.testing.assert_close(pair["pred"].as_subclass(torch.Tensor), expected[i], atol=1e-5, rtol=1e-5)
        assert torch.equal(pair["image"].as_subclass(torch.Tensor), batch["image"][i])
        assert torch.equal(pair["label"].as_subclass(torch.Tensor), batch["label"][i])
        assert pair["seconds"].shape == (1,)
        assert 0 < pair["seconds"].item() < 60
        assert not pair["pred"].requires_grad


def test_masks_go_with_the_field(make_net: MakeNet, make_batch: MakeBatch) -> None:
    batch = make_batch(2)
    batch["mask"] = (batch["image"] > 0.1).byte()
    pairs = evaluate(make_net(), [batch]).state.output
    assert all(torch.equal(pair["mask"].as_subclass(torch.Tensor), batch["mask"][i]) for i, pair in enumerate(pairs))
    assert "mask" not in evaluate(make_net(), [make_batch()]).state.output[0]


def test_seconds_are_those_of_one_pair(make_net: MakeNet, make_batch: MakeBatch, monkeypatch: Any) -> None:
    ticks = iter([10.0, 16.0])
    monkeypatch.setattr("morphseek_monai.engines.evaluator.time.perf_counter", lambda: next(ticks, 0.0))
    net = make_net()
    evaluator = RegistrationEvaluator(device="cpu", val_data_loader=[], network=net, decollate=False)
    output = evaluator._iteration(evaluator, make_batch(3))
    assert output["seconds"].flatten().tolist() == [2.0] * 3


@pytest.mark.parametrize(("mode", "training"), [("eval", False), ("train", True)])
def test_network_comes_back_in_the_mode_it_had(
    mode: str, training: bool, make_net: MakeNet, make_batch: MakeBatch
) -> None:
    net = make_net().train()
    seen: list[bool] = []
    net.register_forward_hook(lambda module, args, output: seen.append(module.training))
    evaluate(net, [make_batch()], mode=mode)
    assert seen == [training]
    assert net.training
