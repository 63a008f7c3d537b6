"""Best-of-K from the policy: never worse than the mean, reproducible, and a spread that is a standard deviation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from morphseek_monai.inference import sampling
from morphseek_monai.inference.sampling import sample_fields
from morphseek_monai.inference.score import label_free_score
from morphseek_monai.networks import MorphSeekNet

MakeNet = Callable[..., MorphSeekNet]
MakeBatch = Callable[..., dict[str, Any]]
SPACING = (1.0, 2.0, 3.0)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """The fields that sample_fields() draws, kept as it draws them."""
    fields: list[torch.Tensor] = []
    draw = sampling._draw

    def keep(*args: Any) -> torch.Tensor:
        fields.append(draw(*args))
        return fields[-1]

    monkeypatch.setattr(sampling, "_draw", keep)
    return fields


def test_spread_is_the_standard_deviation_in_mm(
    make_net: MakeNet, make_batch: MakeBatch, drawn: list[torch.Tensor]
) -> None:
    result = sample_fields(make_net(steps=2).eval(), make_batch()["image"], 5, SPACING, tau=1.0)
    in_mm = torch.cat(drawn) * torch.tensor(SPACING).view(1, 3, 1, 1, 1)
    assert result.spread is not None
    torch.testing.assert_close(result.spread, in_mm.var(0, keepdim=True).sum(1, keepdim=True).sqrt())
    assert result.spread.max() > 0.01


def test_the_best_candidate_is_returned_with_its_score(
    make_net: MakeNet, make_batch: MakeBatch, drawn: list[torch.Tensor]
) -> None:
    network, pair = make_net(steps=2).eval(), make_batch()["image"]
    bests = set()
    for seed in range(6):
        drawn.clear()
        result = sample_fields(network, pair, 3, SPACING, seed, tau=1.0)
        candidates = [network(pair), *drawn]
        assert len(result.scores) == 4
        assert result.best == int(result.scores.argmax())
        torch.testing.assert_close(result.ddf, candidates[result.best])
        torch.testing.assert_close(result.scores, label_free_score(pair, torch.cat(candidates)))
        bests.add(result.best)
    assert len(bests) > 1  # the samples have a chance


def test_a_hopeless_temperature_leaves_the_deterministic_answer(make_net: MakeNet, make_batch: MakeBatch) -> None:
    network, pair = make_net(flow_std=0.05).eval(), make_batch(shift=0.0)["image"]
    result = sample_fields(network, pair, 4, SPACING, tau=200.0)
    assert result.best == 0
    assert torch.equal(result.ddf, network(pair))


def test_steps_and_samples_are_drawn_apart(
    make_net: MakeNet, make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = make_net(steps=2).eval()
    latents: list[torch.Tensor] = []
    act = network.act
    monkeypatch.setattr(network, "act", lambda skips, z, *rest: latents.append(z) or act(skips, z, *rest))
    sample_fields(network, make_batch()["image"], 2, SPACING)
    drawn = latents[2:]  # after the deterministic answer
    assert len(drawn) == 4
    assert all(not torch.equal(drawn[i], drawn[j]) for i in range(4) for j in range(i))


def test_the_global_generator_is_neither_read_nor_moved(make_net: MakeNet, make_batch: MakeBatch) -> None:
    network, pair = make_net().eval(), make_batch()["image"]
    results = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        before = torch.get_rng_state()
        results.append(sample_fields(network, pair, 3, SPACING, seed=7))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(results[0].scores, results[1].scores)
    assert not torch.equal(results[0].scores, sample_fields(network, pair, 3, SPACING, seed=8).scores)


def test_more_samples_begin_with_the_same_ones(make_net: MakeNet, make_batch: MakeBatch) -> None:
    network, pair = make_net().eval(), make_batch()["image"]
    few, many = (sample_fields(network, pair, k, SPACING) for k in (2, 5))
    assert torch.equal(few.scores, many.scores[:3])


def test_spread_grows_with_the_temperature_and_with_the_spacing(make_net: MakeNet, make_batch: MakeBatch) -> None:
    network, pair = make_net().eval(), make_batch()["image"]
    cold, hot = (sample_fields(network, pair, 4, SPACING, tau=tau).spread for tau in (0.1, 1.0))
    double = sample_fields(network, pair, 4, [2 * s for s in SPACING], tau=0.1).spread
    assert cold is not None and hot is not None and double is not None
    assert hot.mean() > 2 * cold.mean()
    torch.testing.assert_close(double, 2 * cold)


def test_a_single_sample_has_no_spread(make_net: MakeNet, make_batch: MakeBatch) -> None:
    assert sample_fields(make_net().eval(), make_batch()["image"], 1, SPACING).spread is None


def test_result_can_be_optimised_further(make_net: MakeNet, make_batch: MakeBatch) -> None:
    """Tensors made in inference mode could not be."""
    ddf = sample_fields(make_net().eval(), make_batch()["image"], 2, SPACING).ddf
    assert not ddf.requires_grad
    (ddf.clone().requires_grad_() * ddf).sum().backward()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": 0}, "'samples' must be at least 1, got 0"),
        ({"tau": 0.0}, "'tau' must be positive, got 0.0"),
        ({"spacing": (1.0, 2.0)}, "'spacing' must be three positive numbers in mm"),
        ({"spacing": (1.0, 2.0, 0.0)}, "'spacing' must be three positive numbers in mm"),
        ({"pair": torch.rand(2, 2, 16, 16, 16)}, r"sample_fields\(\) 'pair' must be \(1, 2, D, H, W\)"),
    ],
)
def test_bad_arguments(make_net: MakeNet, change: dict[str, Any], message: str) -> None:
    arguments = {"pair": torch.rand(1, 2, 16, 16, 16), "samples": 2, "spacing": SPACING, **change}
    with pytest.raises(ValueError, match=message):
        sample_fields(make_net(), **arguments)


def test_a_network_without_policy_says_what_to_do(make_net: MakeNet) -> None:
    with pytest.raises(ValueError, match=r"got policy='none'; use --steps auto, or a bundle with"):
        sample_fields(make_net(policy="none"), torch.rand(1, 2, 16, 16, 16), 2, SPACING)
