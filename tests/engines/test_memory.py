"""What training keeps for the backward pass depends neither on the trajectories nor on the steps nor on the batch."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from morphseek_monai.engines import GRPOTrainer, Pair, RefinementTrainer, WarmupTrainer
from morphseek_monai.networks import MorphSeekNet

MakeNet = Callable[..., MorphSeekNet]
MakeBatch = Callable[..., dict[str, Any]]
MakeTrainer = Callable[..., RefinementTrainer]


class SavedTensors(torch.autograd.graph.saved_tensors_hooks):
    """Counts the volumes that live autograd graphs hold, at present (``live``) and at most (``peak``)."""

    class _Box:
        def __init__(self, tensor: Tensor) -> None:
            self.tensor = tensor

    def __init__(self, at_least: int) -> None:
        self.live = self.peak = 0
        self.at_least = at_least
        super().__init__(self._pack, lambda box: box.tensor)

    def _pack(self, tensor: Tensor) -> _Box:
        box = self._Box(tensor)
        if tensor.numel() >= self.at_least:
            self.live += 1
            self.peak = max(self.peak, self.live)
            weakref.finalize(box, self._release)
        return box

    def _release(self) -> None:
        self.live -= 1


def saved(trainer: RefinementTrainer) -> SavedTensors:
    counter = SavedTensors(at_least=2 * 16**3)  # more than the latents of eight trajectories
    with counter:
        trainer.run()
    return counter


@pytest.mark.parametrize("policy", ["gaussian", "none"])
def test_warmup_keeps_one_step_of_one_pair(
    policy: str, make_net: MakeNet, make_trainer: MakeTrainer, make_batch: MakeBatch
) -> None:
    def run(pairs: int, steps: int) -> SavedTensors:
        return saved(make_trainer(WarmupTrainer, [make_batch(pairs)], make_net(policy=policy), steps=steps))

    one = run(1, 1)
    assert one.peak > 10
    for pairs, steps in ((1, 4), (3, 1), (2, 2)):
        more = run(pairs, steps)
        assert (more.peak, more.live) == (one.peak, 0)


def test_fine_tuning_keeps_one_decoding_whatever_j_and_t_are(make_trainer: MakeTrainer, make_batch: MakeBatch) -> None:
    def run(**kwargs: int) -> SavedTensors:
        return saved(make_trainer(GRPOTrainer, [make_batch(kwargs.pop("pairs", 1))], **kwargs))

    few = run(trajectories=2, steps=1)
    for more in (
        run(trajectories=8, steps=1),
        run(trajectories=8, steps=3),
        run(trajectories=8, steps=2, chunk=8),
        run(trajectories=2, steps=2, pairs=3),
    ):
        assert (more.peak, more.live) == (few.peak, 0)


@pytest.mark.parametrize(("chunk", "decodings"), [(1, [1] * 5), (2, [2, 2, 1]), (5, [5]), (9, [5])])
def test_trajectories_are_decoded_in_chunks_without_gradient(
    chunk: int, decodings: list[int], make_net: MakeNet, make_trainer: MakeTrainer, make_batch: MakeBatch
) -> None:
    net, steps = make_net(steps=3), 3
    encoded: list[bool] = []
    decoded: list[tuple[int, bool]] = []
    encode, decode = net.backbone.encode, net.backbone.decode

    def spy_encode(moving: Tensor, fixed: Tensor) -> Any:
        encoded.append(torch.is_grad_enabled())
        return encode(moving, fixed)

    def spy_decode(skips: list[Tensor], latent: Tensor) -> Tensor:
        decoded.append((len(latent), torch.is_grad_enabled()))
        return decode(skips, latent)

    net.backbone.encode, net.backbone.decode = spy_encode, spy_decode  # type: ignore[method-assign]
    make_trainer(GRPOTrainer, [make_batch(2)], net, trajectories=5, chunk=chunk).run()
    assert encoded == [True] * (2 * steps)
    assert decoded == ([(n, False) for n in decodings] + [(1, True)]) * (2 * steps)


def test_each_step_starts_without_history(
    kind: type[RefinementTrainer], make_trainer: MakeTrainer, make_batch: MakeBatch
) -> None:
    trainer = make_trainer(kind, [make_batch(2)], steps=3)
    refine, histories = trainer.refine, []

    def spy(pair: Pair, ddf: Tensor, generator: torch.Generator, scale: int) -> Any:
        histories.append(ddf.requires_grad)
        return refine(pair, ddf, generator, scale)

    trainer.refine = spy  # type: ignore[method-assign]
    trainer.run()
    assert histories == [False] * 6
    values = [value for pair in trainer.state.output for value in pair.values() if isinstance(value, Tensor)]
    assert len(values) == 6
    assert not any(value.requires_grad for value in values)
