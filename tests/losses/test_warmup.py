"""The warm-up objective: its terms, its weights, and the sampling offset against the half-voxel artefact."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from morphseek_monai.fields import warp
from morphseek_monai.losses import DiffusionLoss, LNCCLoss, MINDSSCLoss, WarmupLoss
from morphseek_monai.networks import LatentPolicy

SIZE = (10, 11, 12)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scene(batch: int = 1) -> tuple[Tensor, Tensor, Tensor, LatentPolicy]:
    moving, fixed = torch.rand(2, batch, 1, *SIZE, generator=generator())
    ddf = torch.randn(batch, 3, *SIZE, generator=generator(1))
    mu, log_sigma = torch.randn(2, batch, 4, 2, 2, 2, generator=generator(2))
    return moving, fixed, ddf, LatentPolicy(mu, log_sigma)


@pytest.mark.parametrize("similarity", [nn.MSELoss(), LNCCLoss(5), MINDSSCLoss()])
def test_terms_are_those_of_the_parts_and_add_up(similarity: nn.Module) -> None:
    moving, fixed, ddf, policy = scene(batch=2)
    terms = WarmupLoss(similarity, DiffusionLoss(), reg_weight=0.7, kl_weight=0.03)(moving, fixed, ddf, policy)
    torch.testing.assert_close(terms.similarity, similarity(warp(moving, ddf), fixed))
    torch.testing.assert_close(terms.regularisation, DiffusionLoss()(ddf))
    torch.testing.assert_close(terms.kl, policy.kl())
    torch.testing.assert_close(terms.total, terms.similarity + 0.7 * terms.regularisation + 0.03 * terms.kl)


def test_no_policy_no_kl() -> None:
    moving, fixed, ddf, _ = scene()
    terms = WarmupLoss(nn.MSELoss(), DiffusionLoss(), kl_weight=10.0)(moving, fixed, ddf, None)
    assert terms.kl == 0
    torch.testing.assert_close(terms.total, terms.similarity + terms.regularisation)


@pytest.mark.parametrize(("name", "weights"), [("regularisation", (0.0, 1.0)), ("kl", (1.0, 0.0))])
def test_weight_zero_removes_the_gradient_of_its_term(name: str, weights: tuple[float, float]) -> None:
    moving, fixed, ddf, policy = scene()
    leaf = ddf if name == "regularisation" else policy.mu
    leaf.requires_grad_()
    still = nn.L1Loss()  # similarity of constant images has no gradient, so only the term in question is left
    terms = WarmupLoss(still, DiffusionLoss(), *weights)(torch.ones_like(moving), torch.ones_like(fixed), ddf, policy)
    (on,) = torch.autograd.grad(getattr(terms, name), leaf, retain_graph=True)
    (total,) = torch.autograd.grad(terms.total, leaf)
    assert on.abs().max() > 0
    assert total.abs().max() < 1e-6


def test_kl_weight_is_a_buffer_that_a_checkpoint_keeps() -> None:
    loss = WarmupLoss(nn.MSELoss(), DiffusionLoss(), kl_weight=0.01)
    loss.kl_weight *= 5
    other = WarmupLoss(nn.MSELoss(), DiffusionLoss())
    other.load_state_dict(loss.state_dict())
    assert other.kl_weight.item() == pytest.approx(0.05)
    assert not list(loss.parameters())
    moving, fixed, ddf, policy = scene()
    torch.testing.assert_close(other(moving, fixed, ddf, policy), loss(moving, fixed, ddf, policy))


def test_offset_comes_from_the_generator_alone() -> None:
    moving, fixed, ddf, policy = scene()
    loss = WarmupLoss(nn.MSELoss(), DiffusionLoss())
    first, again, other = (loss(moving, fixed, ddf, policy, generator(s)).similarity for s in (3, 3, 4))
    assert first == again
    assert (first - other).abs() > 1e-4
    assert loss(moving, fixed, ddf, policy, generator(3)).regularisation == DiffusionLoss()(ddf)


def test_offset_moves_both_images() -> None:
    """A registered pair stays a registered pair wherever it is sampled."""
    image = torch.rand(1, 1, *SIZE, generator=generator())
    still = torch.zeros(1, 3, *SIZE)
    loss = WarmupLoss(nn.MSELoss(), DiffusionLoss())
    for seed in range(5):
        assert loss(image, image, still, None, generator(seed)).similarity < 1e-10


def test_offset_removes_the_reward_of_half_a_voxel() -> None:
    """Two unrelated noise images: nothing to register, so no shift may pay, in expectation over the offset."""
    moving, fixed = torch.randn(2, 1, 1, 16, 16, 16, generator=generator())
    shifts = [torch.full((1, 3, 16, 16, 16), shift) for shift in (0.0, 0.5)]
    loss = WarmupLoss(nn.MSELoss(), DiffusionLoss())
    whole, half = (loss(moving, fixed, ddf, None).similarity for ddf in shifts)
    assert half < 0.7 * whole  # the artefact
    offsets = [generator(), generator()]
    whole, half = (
        torch.stack([loss(moving, fixed, ddf, None, source).similarity for _ in range(200)]).mean()
        for ddf, source in zip(shifts, offsets)
    )
    assert half.item() == pytest.approx(whole.item(), rel=0.1)
