"""The Gaussian policy against torch.distributions, and the bounds of its head."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence

from morphseek_monai.networks import GaussianPolicyHead, LatentPolicy
from morphseek_monai.networks.policy import ldvn_scale

SHAPE = (1, 4, 2, 3, 5)
N = 4 * 2 * 3 * 5


def policy(batch: int = 1, seed: int = 0) -> LatentPolicy:
    generator = torch.Generator().manual_seed(seed)
    mu, log_sigma = torch.randn(2, batch, *SHAPE[1:], generator=generator)
    return LatentPolicy(mu, 0.5 * log_sigma - 1)


def normal(of: LatentPolicy, tau: float = 1.0) -> Independent:
    return Independent(Normal(of.mu, tau * of.log_sigma.exp()), 4)


@pytest.mark.parametrize("tau", [0.5, 1.0, 1.7])
def test_log_prob_is_that_of_torch_distributions(tau: float) -> None:
    z = policy().sample(6, tau, torch.Generator().manual_seed(1))
    log_prob = policy().log_prob(z, scale="one", tau=tau)
    assert log_prob.shape == (6,)
    torch.testing.assert_close(log_prob, normal(policy(), tau).log_prob(z), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("scale", "divisor"), [("sqrt", math.sqrt(N)), ("dim", N), (3.5, 3.5), (2, 2.0)])
def test_ldvn_divides_the_log_density(scale: str | float, divisor: float) -> None:
    z = policy().sample(3, 1.0, torch.Generator().manual_seed(1))
    torch.testing.assert_close(policy().log_prob(z, scale) * divisor, policy().log_prob(z, "one"))


def test_sqrt_is_the_default() -> None:
    z = policy().mean
    assert torch.equal(policy().log_prob(z), policy().log_prob(z, "sqrt"))


@pytest.mark.parametrize("scale", ["sum", "", 0, -1.0, math.nan])
def test_ldvn_scale_refuses(scale: str | float) -> None:
    with pytest.raises(ValueError, match=r"ldvn_scale\(\) 'scale' must be 'sqrt', 'one', 'dim' or a positive number"):
        ldvn_scale(scale, 10)


def test_log_prob_is_float32_and_exact_for_bfloat16_input() -> None:
    low = LatentPolicy(policy().mu.bfloat16(), policy().log_sigma.bfloat16())
    lifted = LatentPolicy(low.mu.float(), low.log_sigma.float())
    z = low.sample(2, 1.0, torch.Generator().manual_seed(1))
    assert z.dtype == torch.bfloat16
    log_prob = low.log_prob(z, "one")
    assert log_prob.dtype == torch.float32
    assert torch.equal(log_prob, lifted.log_prob(z.float(), "one"))
    assert low.kl().dtype == torch.float32


def test_kl_is_that_of_torch_distributions_per_dimension() -> None:
    of = policy(batch=2)
    standard = Normal(torch.zeros_like(of.mu), torch.ones_like(of.mu))
    expected = kl_divergence(Normal(of.mu, of.log_sigma.exp()), standard).mean()
    torch.testing.assert_close(of.kl(), expected)
    assert LatentPolicy(torch.zeros(SHAPE), torch.zeros(SHAPE)).kl() == 0


@pytest.mark.parametrize("tau", [0.5, 2.0])
def test_sampling_statistics(tau: float) -> None:
    of, n = policy(), 4000
    z = of.sample(n, tau, torch.Generator().manual_seed(1))
    std = tau * of.log_sigma.exp()[0]
    assert (((z.mean(0) - of.mu[0]) / std).abs() < 5 / math.sqrt(n)).all()
    assert ((z.std(0) / std - 1).abs() < 5 / math.sqrt(2 * n)).all()


def test_sampling_repeats_with_its_generator_and_has_no_gradient() -> None:
    mu = policy().mu.requires_grad_()
    of = LatentPolicy(mu, policy().log_sigma)
    first, second = (of.sample(2, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)
    assert not first.requires_grad
    assert not torch.equal(first, of.sample(2, generator=torch.Generator().manual_seed(4)))
    assert not torch.equal(first[0], first[1])


def test_sample_refuses_a_batch_of_pairs() -> None:
    with pytest.raises(ValueError, match=r"LatentPolicy.sample\(\) expects the policy of one pair, got a batch of 2"):
        policy(batch=2).sample(3)


def test_latent_reaches_mean_and_sigma() -> None:
    mu, log_sigma = (x.requires_grad_() for x in policy())
    noise = torch.randn(SHAPE)
    LatentPolicy(mu, log_sigma).latent(noise, tau=0.5).sum().backward()
    assert mu.grad is not None
    assert log_sigma.grad is not None
    torch.testing.assert_close(mu.grad, torch.ones(SHAPE))
    torch.testing.assert_close(log_sigma.grad, 0.5 * log_sigma.exp().detach() * noise)


def test_untrained_head_hands_the_feature_on() -> None:
    head = GaussianPolicyHead(4, latent_scale=1e4, initial_log_sigma=-1.5)
    top = torch.randn(2, *SHAPE[1:])
    of = head(top)
    torch.testing.assert_close(of.mu, top, rtol=1e-5, atol=1e-5)
    assert torch.equal(of.log_sigma, torch.full_like(top, -1.5))
    assert torch.equal(of.mean, head.mean(top))


@pytest.fixture
def wild_head() -> GaussianPolicyHead:
    torch.manual_seed(0)
    head = GaussianPolicyHead(4, latent_scale=2.0, log_sigma_range=(-3.0, 0.5))
    for layer in (head.mu, head.log_sigma):
        torch.nn.init.normal_(layer.weight, std=5.0)
    return head


def test_head_bounds_mean_and_sigma(wild_head: GaussianPolicyHead) -> None:
    of = wild_head(100 * torch.randn(SHAPE))
    assert 1.9 < of.mu.abs().max() <= 2.0
    assert (of.log_sigma.min(), of.log_sigma.max()) == (-3.0, 0.5)


def test_head_is_float32_under_autocast(wild_head: GaussianPolicyHead) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        of = wild_head(torch.randn(SHAPE))
    assert (of.mu.dtype, of.log_sigma.dtype) == (torch.float32, torch.float32)


@pytest.mark.parametrize("bounds", [(-5.0, -2.5), (-1.0, 0.0), (0.0, -5.0)])
def test_head_refuses_a_start_outside_the_clip(bounds: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=r"GaussianPolicyHead\(\) 'log_sigma_range' must be \(low, high\) around"):
        GaussianPolicyHead(4, log_sigma_range=bounds, initial_log_sigma=-2.0)


def test_mean_ignores_the_noise_of_an_almost_deterministic_policy() -> None:
    """At the lower clip a sample decodes to what the mean decodes to."""
    of = LatentPolicy(policy().mu, torch.full(SHAPE, -12.0))
    z: Tensor = of.sample(4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(z, of.mean.expand_as(z), rtol=0, atol=1e-4)


@pytest.mark.parametrize("scale", [0.0, -1.0])
def test_head_refuses_a_scale_that_bounds_nothing(scale: float) -> None:
    with pytest.raises(ValueError, match=r"GaussianPolicyHead\(\) 'latent_scale' must be positive, got"):
        GaussianPolicyHead(4, latent_scale=scale)


def test_local_log_prob_sums_to_the_whole() -> None:
    z = policy().sample(3, 1.0, torch.Generator().manual_seed(1))
    local = policy().log_prob(z, local=True)
    assert local.shape == (3, *SHAPE[2:])
    torch.testing.assert_close(local.sum((1, 2, 3)), policy().log_prob(z))
    moved = z.clone()
    moved[:, :, 0, 1, 2] += 1.0  # a place's density depends on nothing but this place
    changed = (policy().log_prob(moved, local=True) != local).any(0)
    assert changed.nonzero().tolist() == [[0, 1, 2]]
