"""What both trainers share, seen from outside: learning, gradients, logs, bookkeeping."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from monai.handlers import TensorBoardStatsHandler, from_engine
from torch import Tensor

from morphseek_monai.engines import GRPOTrainer, Pair, RefinementTrainer, StepResult, WarmupTrainer, prepare_pairs
from morphseek_monai.losses import DiffusionLoss, LNCCLoss, MorphSeekLoss, WarmupLoss
from morphseek_monai.networks import MorphSeekNet

MakeNet = Callable[..., MorphSeekNet]
MakeBatch = Callable[..., dict[str, Any]]
MakeTrainer = Callable[..., RefinementTrainer]
Kind = type[RefinementTrainer]


def flat(net: torch.nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def test_is_a_monai_trainer_with_scalar_terms(kind: Kind, make_trainer: MakeTrainer, make_batch: MakeBatch) -> None:
    writer = Mock()
    board = TensorBoardStatsHandler(writer, output_transform=from_engine("terms", first=True), epoch_log=False)
    logged: list[dict[str, float]] = []
    trainer = make_trainer(
        kind,
        [make_batch(2)] * 2,
        epochs=2,
        steps=2,
        train_handlers=[board],
    )
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda e: logged.append(e.state.output[0]["terms"]))
    trainer.run()
    assert isinstance(trainer, SupervisedTrainer)
    assert (trainer.state.epoch, trainer.state.iteration, len(logged)) == (2, 4, 4)
    assert {"loss", "similarity", "regularisation", "kl", "sigma", "grad_norm", "skipped"} <= logged[0].keys()
    assert all(type(value) is float for terms in logged for value in terms.values())
    assert len(trainer.state.output) == 2
    for pair, image, label in zip(trainer.state.output, make_batch(2)["image"], make_batch(2)["label"]):
        assert (pair["pred"].shape, pair["pred"].dtype) == ((3, 16, 16, 16), torch.float32)
        assert torch.equal(pair["image"], image) and torch.equal(pair["label"], label)
        assert pair["loss"] == logged[-1]["loss"]
        assert not pair["pred"].requires_grad
    assert {call.args[0] for call in writer.add_scalar.call_args_list} == logged[0].keys()


def test_batch_of_two_is_the_mean_of_two_pairs(
    kind: Kind, make_net: MakeNet, make_trainer: MakeTrainer, make_batch: MakeBatch
) -> None:
    net = make_net(steps=2)

    def change(batch: dict[str, Any], pair: int = 0) -> Tensor:
        trainer = make_trainer(kind, [batch], copy.deepcopy(net), max_grad_norm=1e9, lr=1.0)
        generator = trainer.generator
        trainer.generator = lambda i: generator(i + pair)  # type: ignore[method-assign]
        trainer.run()
        return flat(trainer.network) - flat(net)

    both = change(make_batch(2))
    first, second = change(make_batch(first=0), 0), change(make_batch(first=1), 1)
    assert (first - second).norm() > 0.05 * first.norm()
    assert (both - (first + second) / 2).norm() < 1e-3 * (first - second).norm()


@pytest.mark.parametrize(("pairs", "steps"), [(1, 1), (1, 3), (3, 1), (2, 2)])
def test_objective_is_the_mean_over_pairs_and_steps(
    pairs: int, steps: int, make_net: MakeNet, make_trainer: MakeTrainer, make_batch: MakeBatch
) -> None:
    class Slope(RefinementTrainer):
        def refine(self, pair: Pair, ddf: Tensor, generator: torch.Generator, scale: int = 1) -> StepResult:
            assert self.network.training
            return StepResult(sum(p.sum() for p in self.network.parameters()), ddf, {})

    net = make_net().eval()  # as validation leaves it
    before = flat(net)
    make_trainer(Slope, [make_batch(pairs)], net, steps=steps, lr=1.0, max_grad_norm=1e9).run()
    torch.testing.assert_close(before - flat(net), torch.ones_like(before))


def test_gradient_is_clipped_and_logged_before_clipping(
    kind: Kind, make_net: MakeNet, make_trainer: MakeTrainer, make_batch: MakeBatch
) -> None:
    net = make_net()
    before = flat(net)
    trainer = make_trainer(kind, [make_batch()], net, lr=1.0, max_grad_norm=1e-3)
    trainer.run()
    assert (flat(net) - before).norm().item() == pytest.approx(1e-3, rel=1e-2)
    assert trainer.state.output[0]["terms"]["grad_norm"] > 2e-3


@pytest.mark.parametrize(("steps", "expected"), [(None, 3), (1, 1), (4, 4)])
def test_steps_default_to_those_of_the_network(
    kind: Kind,
    steps: int | None,
    expected: int,
    make_net: MakeNet,
    make_trainer: MakeTrainer,
    make_batch: MakeBatch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trainer = make_trainer(kind, [make_batch(2)], make_net(steps=3), steps=steps)
    seen: list[Tensor] = []
    refine = trainer.refine
    monkeypatch.setattr(trainer, "refine", lambda *args: (seen.append(args[1]), refine(*args))[1])
    trainer.run()
    assert len(seen) == 2 * expected
    for i in range(2):
        assert not seen[i * expected].any()  # each pair starts from the identity ...
        assert all(ddf.any() for ddf in seen[i * expected + 1 : (i + 1) * expected])  # ... and goes on from there


def test_refuses_no_steps(kind: Kind, make_trainer: MakeTrainer, make_batch: MakeBatch) -> None:
    with pytest.raises(ValueError, match=rf"{kind.__name__}\(\) 'steps' must be at least 1 or None, got 0"):
        make_trainer(kind, [make_batch()], steps=0)


def test_noise_depends_on_seed_iteration_and_place_in_the_batch_of_all_processes(
    kind: Kind, make_trainer: MakeTrainer, make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(seed: int = 0, iteration: int = 1, pair: int = 0, rank: int = 0, processes: int = 1) -> float:
        monkeypatch.setattr("ignite.distributed.get_world_size", lambda: processes)
        trainer = make_trainer(kind, [make_batch()], seed=seed)
        trainer.state.rank, trainer.state.iteration = rank, iteration
        return torch.rand(1, generator=trainer.generator(pair)).item()

    assert draw() == draw()
    others = [draw(seed=1), draw(iteration=2), draw(iteration=0), draw(pair=1), draw(pair=2), draw(seed=1, pair=1)]
    assert len({draw(), *others}) == 1 + len(others)
    dealt = [draw(pair=pair, rank=rank, processes=3) for pair in range(2) for rank in range(3)]
    assert dealt == [draw(pair=place) for place in range(6)]


def test_global_generator_is_seeded_by_seed_iteration_and_rank(
    kind: Kind, make_trainer: MakeTrainer, make_batch: MakeBatch
) -> None:
    """Dropout and stochastic depth: nothing that came before matters, and ranks differ."""

    class Draw(RefinementTrainer):
        def refine(self, pair: Pair, ddf: Tensor, generator: torch.Generator, scale: int = 1) -> StepResult:
            drawn.append(torch.rand(()).item())
            return StepResult(sum(p.sum() for p in self.network.parameters()), ddf, {})

    def draw(rank: int = 0, **kwargs: int) -> list[float]:
        drawn.clear()
        trainer = make_trainer(Draw, [make_batch()] * 2, steps=2, **kwargs)
        trainer.state.rank = rank
        trainer.run()
        return list(drawn)

    drawn: list[float] = []
    first = draw()
    torch.manual_seed(99)
    assert draw() == first
    assert len({*first, *draw(rank=1), *draw(seed=1)}) == 12


def test_run_repeats_bit_for_bit_whatever_the_global_seed(
    kind: Kind, make_net: MakeNet, make_trainer: MakeTrainer, make_batch: MakeBatch
) -> None:
    def run(global_seed: int, seed: int = 0) -> Tensor:
        torch.manual_seed(global_seed)
        trainer = make_trainer(kind, [make_batch()] * 3, make_net(steps=2), seed=seed)
        trainer.run()
        return flat(trainer.network)

    assert torch.equal(run(1), run(2))
    assert torch.equal(run(1), run(1, seed=5)) == (kind is WarmupTrainer)  # which draws nothing


def test_mask_reaches_the_similarity(kind: Kind, make_trainer: MakeTrainer, make_batch: MakeBatch) -> None:
    batch = make_batch()
    mask = torch.zeros_like(batch["image"], dtype=torch.uint8)
    mask[:, 0, :9], mask[:, 1, 6:] = 1, 1
    warmup = WarmupLoss(LNCCLoss(3), DiffusionLoss())
    trainer = make_trainer(kind, [batch], loss_function=MorphSeekLoss(warmup, 3) if kind is GRPOTrainer else warmup)
    moving, fixed, ddf = batch["image"][:, :1], batch["image"][:, 1:], torch.zeros(1, 3, 16, 16, 16)
    refined = trainer.network.step(moving, fixed, ddf)
    expected = [warmup(moving, fixed, refined, None, m).similarity.item() for m in (mask, None)]
    assert abs(expected[0] - expected[1]) > 0.05
    for given, value in zip((batch | {"mask": mask}, batch), expected):
        result = trainer.refine(prepare_pairs(given).pair(0), ddf, torch.Generator().manual_seed(0))
        assert float(result.terms["similarity"]) == pytest.approx(value, abs=1e-5)
