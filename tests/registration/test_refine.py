"""Instance optimisation: better by its own measure, never worse, repeatable, and without a trace in the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from morphseek_monai.fields import compose, njd_percent, warp
from morphseek_monai.losses import DiffusionLoss, LNCCLoss
from morphseek_monai.networks import MorphSeekNet
from morphseek_monai.registration import refine
from morphseek_monai.registration.refine import Refined, refine_field, refine_latent
from morphseek_monai.registration.score import label_free_score
from morphseek_monai.registration.similarity import foreground

MakeNet = Callable[..., MorphSeekNet]
MakeBatch = Callable[..., dict[str, Any]]
NOWHERE = torch.zeros(1, 3, 16, 16, 16)


@pytest.fixture
def pair(make_batch: MakeBatch) -> torch.Tensor:
    image: torch.Tensor = make_batch(shift=1.0)["image"]
    return image


@pytest.fixture
def network(make_net: MakeNet) -> MorphSeekNet:
    return make_net(steps=2, scales=(2, 1), flow_std=0.1).eval()


@contextmanager
def traceless(network: MorphSeekNet) -> Iterator[None]:
    """What a caller may rely on: same weights, flags, gradients and mode after as before."""

    def state() -> list[Any]:
        return [(p.requires_grad, p.grad) for p in network.parameters()] + [network.training]

    weights, before = {k: v.clone() for k, v in network.state_dict().items()}, state()
    yield
    assert state() == before
    assert all(torch.equal(v, weights[k]) for k, v in network.state_dict().items())


def test_field_finds_a_known_shift(make_batch: MakeBatch) -> None:
    pair = make_batch(shift=1.0)["image"]
    result = refine_field(pair, NOWHERE, 60)
    tissue = pair[:, 1:] > 0.5
    moved = torch.stack([result.ddf[:, c : c + 1][tissue].mean() for c in range(3)])
    torch.testing.assert_close(moved, torch.ones(3), atol=0.2, rtol=0)
    assert result.after > result.before + 0.05


def test_latents_of_all_steps_improve_the_field(network: MorphSeekNet, pair: torch.Tensor) -> None:
    result = refine_latent(network, pair, 10)
    assert result.history[-1] < result.history[0]
    assert result.before == pytest.approx(label_free_score(pair, network(pair)).item(), abs=1e-5)
    assert result.after > result.before
    assert result.after == pytest.approx(label_free_score(pair, result.ddf).item())


def test_history_is_the_stated_loss(pair: torch.Tensor) -> None:
    start = torch.full((1, 3, 16, 16, 16), 0.3)
    result = refine_field(pair, start, 5, regularisation=3.0)
    assert len(result.history) == 6

    def loss(residual: torch.Tensor) -> float:
        warped = warp(pair[:, :1], compose(start, residual))
        dissimilarity = 1 + LNCCLoss(3)(warped, pair[:, 1:], foreground(pair[:, 1:]))
        return (dissimilarity + 3.0 * DiffusionLoss()(residual)).item()

    assert result.history[0] == pytest.approx(loss(NOWHERE), abs=1e-6)
    best = min(result.history)
    assert best == pytest.approx(loss(result.ddf - 0.3), abs=1e-5)  # a constant start: composing is adding


@pytest.mark.parametrize("what", ["field", "latent"])
def test_another_pair_in_between_changes_nothing(
    network: MorphSeekNet, make_batch: MakeBatch, what: str
) -> None:
    def run(shift: float) -> Refined:
        pair = make_batch(shift=shift)["image"]
        return refine_field(pair, network(pair).detach(), 3) if what == "field" else refine_latent(network, pair, 3)

    with traceless(network):
        first, other, again = run(1.0), run(2.0), run(1.0)
    assert torch.equal(first.ddf, again.ddf) and first.history == again.history
    assert not torch.equal(first.ddf, other.ddf)


@pytest.mark.parametrize("frozen", [True, False])
def test_the_network_is_read_only(network: MorphSeekNet, pair: torch.Tensor, frozen: bool) -> None:
    network.requires_grad_(not frozen)
    before = pair.clone()
    with traceless(network):
        result = refine_latent(network, pair, 2)
    assert torch.equal(pair, before)
    assert not result.ddf.requires_grad


def test_autocast_does_not_freeze_the_latents(network: MorphSeekNet, pair: torch.Tensor) -> None:
    """Autocast keeps the low-precision copy it made of an optimised tensor at first sight."""
    with torch.autocast("cpu", torch.bfloat16):
        result = refine_latent(network, pair, 5)
    assert len(set(result.history)) == 6


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_may_be_called_where_gradients_are_off(
    network: MorphSeekNet, make_batch: MakeBatch, mode: Callable[[], Any]
) -> None:
    expected = refine_latent(network, make_batch(shift=1.0)["image"], 2)
    with mode():
        pair = make_batch(shift=1.0)["image"]
        latent = refine_latent(network, pair, 2)
        field = refine_field(pair, latent.ddf, 2)
    assert torch.equal(latent.ddf, expected.ddf)
    assert field.history[2] < field.history[0]


def test_a_start_that_cannot_be_improved_is_returned(make_batch: MakeBatch) -> None:
    image = make_batch(shift=0.0)["image"]
    result = refine_field(image, NOWHERE, 3, lr=5.0)
    assert torch.equal(result.ddf, NOWHERE)
    assert result.after == result.before


def test_a_lower_loss_with_a_lower_score_is_not_taken(pair: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refine, "label_free_score", lambda pair, ddf: -ddf.abs().mean())
    result = refine_field(pair, NOWHERE, 5)
    assert min(result.history) < result.history[0]
    assert torch.equal(result.ddf, NOWHERE)


def test_iterates_that_fold_are_passed_over() -> None:
    """Stripes that match best by folding: without a guard, and without regularisation, the best iterate folds."""
    generator = torch.Generator().manual_seed(0)
    pair = torch.rand(1, 2, 16, 16, 16, generator=generator)
    folds = {}
    for most in (100.0, 0.5):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(refine, "MOST_FOLDING", most)
            folds[most] = njd_percent(refine_field(pair, NOWHERE, 10, lr=0.3, regularisation=0.0).ddf).item()
    assert folds[100.0] > 5
    assert folds[0.5] <= 0.5


def test_a_start_that_folds_may_stay_but_not_fold_more(pair: torch.Tensor) -> None:
    start = NOWHERE.clone()
    start[:, 0, 8:, :4] = -4.0
    result = refine_field(pair, start, 10, lr=0.5, regularisation=0.0)
    assert njd_percent(start).item() > 0.5
    assert njd_percent(result.ddf).item() <= njd_percent(start).item()


def test_more_regularisation_moves_less(pair: torch.Tensor) -> None:
    loose, stiff = (refine_field(pair, NOWHERE, 20, regularisation=weight).ddf for weight in (0.1, 50.0))
    assert DiffusionLoss()(stiff) < DiffusionLoss()(loose) / 5


def test_networks_without_policy_are_refined_too(make_net: MakeNet, pair: torch.Tensor) -> None:
    result = refine_latent(make_net(policy="none", flow_std=0.1).eval(), pair, 5)
    assert min(result.history) < result.history[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net, pair: refine_field(pair, NOWHERE, 0), r"refine_field\(\) 'iterations' must be at least 1, got 0"),
        (lambda net, pair: refine_latent(net, pair, 0), r"refine_latent\(\) 'iterations' must be at least 1, got 0"),
        (lambda net, pair: refine_field(pair[:, :1], NOWHERE, 1), r"refine_field\(\) 'pair' must be \(1, 2, D, H, W\)"),
        (lambda net, pair: refine_latent(net, pair[:, :1], 1), r"refine_latent\(\) 'pair' must be"),
    ],
)
def test_bad_arguments(network: MorphSeekNet, pair: torch.Tensor, call: Callable[..., Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(network, pair)
