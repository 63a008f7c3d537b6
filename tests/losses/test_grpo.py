"""Advantages and the policy gradient against the formulas written out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from morphseek_monai.losses import GRPOLoss, group_advantages
from morphseek_monai.networks import LatentPolicy

SHAPE = (1, 3, 2, 4, 2)
N = 3 * 2 * 4 * 2


def leaves(seed: int = 0) -> LatentPolicy:
    mu, log_sigma = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(seed))
    return LatentPolicy(mu.requires_grad_(), (0.3 * log_sigma - 1).requires_grad_())


def draw(policy: LatentPolicy, n: int, tau: float = 1.0) -> Tensor:
    return policy.sample(n, tau, torch.Generator().manual_seed(1))


def gradients(policy: LatentPolicy) -> tuple[Tensor, Tensor]:
    assert policy.mu.grad is not None
    assert policy.log_sigma.grad is not None
    return policy.mu.grad, policy.log_sigma.grad


@pytest.mark.parametrize("spread", [1.0, 1e-3])
def test_advantages_are_standardised(spread: float) -> None:
    rewards = 0.8 + spread * torch.rand(6, generator=torch.Generator().manual_seed(0))
    advantages = group_advantages(rewards)
    assert advantages.dtype == torch.float32
    assert advantages.mean().item() == pytest.approx(0, abs=1e-6)
    assert advantages.std(correction=0).item() == pytest.approx(1, rel=1e-2)
    assert torch.equal(advantages.argsort(), rewards.argsort())


def test_advantages_ignore_shift_and_scale_of_the_rewards() -> None:
    rewards = torch.rand(5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(group_advantages(3 * rewards - 7), group_advantages(rewards), rtol=1e-4, atol=1e-4)


def test_eps_damps_a_spread_below_it() -> None:
    rewards = torch.tensor([0.0, 2e-3], dtype=torch.float64)
    torch.testing.assert_close(group_advantages(rewards, eps=1e-3), torch.tensor([-0.5, 0.5]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # the mean of six 0.1 is not 0.1 in float64
@pytest.mark.parametrize("rewards", [[0.1] * 6, [0.7] * 3, [0.0] * 4, [-0.7]])
def test_equal_rewards_and_a_group_of_one_give_exact_zeros(rewards: list[float], dtype: torch.dtype) -> None:
    assert not group_advantages(torch.tensor(rewards, dtype=dtype)).any()


@pytest.mark.parametrize("tau", [1.0, 0.6])
@pytest.mark.parametrize(("scale", "divisor"), [("sqrt", math.sqrt(N)), ("one", 1.0), ("dim", N), (7.0, 7.0)])
def test_gradient_is_the_score_function(scale: str | float, divisor: float, tau: float) -> None:
    policy = leaves()
    z = draw(policy, 5, tau)
    rewards = torch.rand(5, generator=torch.Generator().manual_seed(2))
    GRPOLoss(scale)(policy, z, rewards, tau).backward()

    advantage = ((rewards - rewards.mean()) / rewards.std(correction=0)).view(-1, 1, 1, 1, 1)
    deviation = (z - policy.mu) / (tau * policy.log_sigma.exp())
    mu_score = deviation / (tau * policy.log_sigma.exp())
    log_sigma_score = deviation.square() - 1
    mu_grad, log_sigma_grad = gradients(policy)
    for grad, score in ((mu_grad, mu_score), (log_sigma_grad, log_sigma_score)):
        expected = -(advantage * score).mean(0, keepdim=True).detach() / divisor
        torch.testing.assert_close(grad, expected, rtol=1e-4, atol=1e-5)


def test_descent_moves_the_policy_towards_the_better_latent() -> None:
    policy = leaves()
    z = draw(policy, 2)
    GRPOLoss()(policy, z, torch.tensor([0.2, 0.9])).backward()
    mu_grad, log_sigma_grad = gradients(policy)
    moved = LatentPolicy(policy.mu - 0.01 * mu_grad, policy.log_sigma - 0.01 * log_sigma_grad)
    change = moved.log_prob(z) - policy.log_prob(z)
    assert change[1] > 0 > change[0]


def test_loss_value() -> None:
    policy = leaves()
    z, rewards = draw(policy, 2), torch.tensor([0.0, 1.0])
    log_prob = policy.log_prob(z)
    torch.testing.assert_close(GRPOLoss(eps=0.0)(policy, z, rewards), (log_prob[0] - log_prob[1]) / 2)


@pytest.mark.parametrize("rewards", [torch.full((4,), 0.3), torch.zeros(4)])
def test_equal_rewards_teach_nothing(rewards: Tensor) -> None:
    policy = leaves()
    loss = GRPOLoss()(policy, draw(policy, 4), rewards)
    loss.backward()
    assert loss == 0
    assert not any(grad.any() for grad in gradients(policy))


def test_latents_and_rewards_are_constants() -> None:
    policy = leaves()
    z = policy.latent(torch.randn(3, *SHAPE[1:], generator=torch.Generator().manual_seed(1)))
    z.retain_grad()
    rewards = torch.rand(3, requires_grad=True)
    GRPOLoss()(policy, z, rewards).backward()
    assert z.grad is None
    assert rewards.grad is None
    with_graph = [grad.clone() for grad in gradients(policy)]
    plain = leaves()
    GRPOLoss()(plain, z.detach(), rewards).backward()
    for a, b in zip(with_graph, gradients(plain)):
        torch.testing.assert_close(a, b)


def test_refuses_rewards_of_another_group() -> None:
    policy = leaves()
    with pytest.raises(ValueError, match=r"GRPOLoss\(\) 'rewards' must have one entry per latent \(4\), got 3"):
        GRPOLoss()(policy, draw(policy, 4), torch.rand(3))


def test_refuses_an_unknown_scale_when_built() -> None:
    with pytest.raises(ValueError, match=r"ldvn_scale\(\) 'scale' must be .* got 'sqroot'"):
        GRPOLoss("sqroot")


def test_local_credit_makes_every_place_a_group() -> None:
    """The gradient at a place is that of a policy that has this place alone."""
    policy = leaves()
    latents = draw(policy, 5)
    credit = torch.rand(5, *SHAPE[2:], generator=torch.Generator().manual_seed(3))
    GRPOLoss(scale="one")(policy, latents, credit).backward()
    whole = gradients(policy)[0]
    place = (..., slice(1, 2), slice(2, 3), slice(0, 1))
    alone = LatentPolicy(policy.mu.detach()[place].requires_grad_(), policy.log_sigma.detach()[place].requires_grad_())
    GRPOLoss(scale="one")(alone, latents[place], credit[:, 1, 2, 0]).backward()
    torch.testing.assert_close(whole[place], gradients(alone)[0])
    credit[:, 0, 0, 0] = 0.3  # nothing to choose there
    policy = leaves()
    GRPOLoss()(policy, latents, credit).backward()
    assert not gradients(policy)[0][:, :, 0, 0, 0].any()
    assert gradients(policy)[0][:, :, 1, 0, 0].all()
