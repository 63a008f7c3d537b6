"""The slope of an expected reward, where it is known in closed form."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from morphseek_monai.losses import FieldSlope
from morphseek_monai.networks import LatentPolicy

SIZE = (6, 7, 8)
SPREAD = 0.3


def mean_field() -> Tensor:
    return torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(0))


def samples(count: int, mean: Tensor, pairs: bool = False) -> Tensor:
    """Fields of a policy whose decoder is the identity."""
    policy = LatentPolicy(mean, torch.zeros_like(mean))
    return policy.sample(count, SPREAD, torch.Generator().manual_seed(1), pairs)


def slope_of(fields: Tensor, credit: Tensor, reference: Tensor, chunk: int = 1000, together: float = 1.0) -> Tensor:
    slope = FieldSlope(reference, together)
    for some, earned in zip(fields.split(chunk), credit.split(chunk), strict=True):
        slope.add(some, earned)
    return slope.value()


def error(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


def test_quadratic_reward_of_each_voxel() -> None:
    """``E[-|u - a|^2 / 2]`` has the gradient ``a - mean u``; the error falls with the root of the samples."""
    mean, aim = mean_field(), mean_field().flip(2)

    def off(count: int) -> float:
        fields = samples(count, mean)
        return error(slope_of(fields, -(fields - aim).square().sum(1) / 2, mean), aim - mean)

    few, many = off(40), off(4000)
    assert many < 0.05
    assert many == pytest.approx(few / 10, rel=0.3)


def test_step_of_a_hard_reward_is_seen_where_soft_values_have_no_gradient() -> None:
    """A voxel earns 1 beyond a threshold: the slope is the normal density there."""
    mean = torch.zeros(1, 3, *SIZE)
    fields = samples(8000, mean)
    found = slope_of(fields, (fields[:, 0] > 0.2).float(), mean)
    density = torch.distributions.Normal(0.0, SPREAD).log_prob(torch.tensor(0.2)).exp()
    assert found[:, 0].mean().item() == pytest.approx(density.item(), rel=0.02)
    assert found[:, 1:].mean().abs() < 0.02


def test_reward_of_the_whole_field() -> None:
    """Credited to every voxel it has an error of sqrt(dimensions / samples); voxels that move together share it."""
    mean, gradient = mean_field(), torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(2))
    fields = samples(10000, mean)
    reward = (fields * gradient).sum((1, 2, 3, 4))
    off = error(slope_of(fields, reward, mean), gradient)
    assert off == pytest.approx((mean.numel() / len(fields)) ** 0.5, rel=0.1)
    rigid = mean + (samples(4000, torch.zeros(1, 3, 1, 1, 1)))
    reward = (rigid * gradient).sum((1, 2, 3, 4))
    found = slope_of(rigid, reward, mean, together=float(gradient[0, 0].numel()))
    torch.testing.assert_close(found[0, :, 2, 2, 2], gradient.mean((0, 2, 3, 4)), atol=5e-3, rtol=0.1)


def test_pairs_cancel_what_is_even() -> None:
    mean = mean_field()
    for pairs in (False, True):
        fields = samples(6, mean, pairs)
        found = slope_of(fields, (fields - mean).square().sum(1), mean)
        assert (found.abs().max() < 1e-4) == pairs


def test_pairs_know_the_mean_and_the_odd_one_stands_alone() -> None:
    mean = mean_field()
    torch.testing.assert_close(samples(8, mean, pairs=True).mean(0), mean[0])
    assert len(samples(5, mean, pairs=True)) == 5
    assert samples(5, mean, pairs=True).unique(dim=0).shape[0] == 5


@pytest.mark.parametrize("chunk", [1, 3, 4])
def test_chunks_and_a_constant_change_nothing(chunk: int) -> None:
    mean = mean_field()
    fields = samples(7, mean)
    credit = 1e-4 * fields[:, 1].sin()
    whole = slope_of(fields, credit, mean)
    torch.testing.assert_close(slope_of(fields, credit + 0.5, mean, chunk), whole, rtol=1e-2, atol=1e-6)
    torch.testing.assert_close(slope_of(fields, credit, mean + 0.1, chunk), whole, rtol=1e-3, atol=1e-7)


def test_equal_credit_gives_exact_zeros() -> None:
    mean = mean_field()
    assert not slope_of(samples(6, mean), torch.full((6,), 0.7), mean).any()


def test_spread_is_that_of_the_samples() -> None:
    mean = mean_field()
    slope = FieldSlope(mean)
    slope.add(samples(50, mean), torch.zeros(50))
    assert slope.spread().item() == pytest.approx(SPREAD, rel=0.03)


def test_refuses_one_sample() -> None:
    slope = FieldSlope(mean_field())
    slope.add(samples(1, mean_field()), torch.zeros(1))
    with pytest.raises(ValueError, match=r"FieldSlope.value\(\) needs at least 2 samples, got 1"):
        slope.value()
