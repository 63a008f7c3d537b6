"""The slope of an expected reward, where it is known in closed form."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from morphseek_monai.losses import field_slope

SIZE = (6, 7, 8)
SPREAD = 0.3


def random_field(seed: int) -> Tensor:
    return torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(seed))


def error(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def test_quadratic_reward_of_each_voxel() -> None:
    """The slope is the gradient, with the variance of a Gaussian score: |error|^2 / |gradient|^2 = 4 / pairs."""
    field, aim = random_field(0), random_field(1)

    def off(pairs: int) -> float:
        def earned(fields: Tensor) -> Tensor:
            return -(fields - aim).square().sum(1) / 2

        return error(field_slope(earned, field, SPREAD, pairs, generator()), aim - field)

    assert off(25) == pytest.approx(math.sqrt(4 / 25), rel=0.1)
    assert off(2500) == pytest.approx(math.sqrt(4 / 2500), rel=0.1)


def test_step_of_a_hard_reward_is_seen_where_a_derivative_is_zero() -> None:
    """A voxel earns 1 beyond a threshold: the slope is the normal density there."""
    still = torch.zeros(1, 3, *SIZE)
    found = field_slope(lambda fields: (fields[:, 0] > 0.2).float(), still, SPREAD, 2000, generator())
    density = torch.distributions.Normal(0.0, SPREAD).log_prob(torch.tensor(0.2)).exp()
    assert found[:, 0].mean().item() == pytest.approx(density.item(), rel=0.02)
    assert found[:, 1:].mean().abs() < 0.02


def test_one_reward_for_all_voxels_is_right_but_tells_less() -> None:
    """Its relative error is the root of (dimensions + 1) / pairs, a thousandfold in variance here."""
    gradient = random_field(2)
    found = field_slope(
        lambda fields: (fields * gradient).sum((1, 2, 3, 4)), random_field(0), SPREAD, 5000, generator()
    )
    assert error(found, gradient) == pytest.approx(math.sqrt((gradient.numel() + 1) / 5000), rel=0.1)


def test_what_is_even_cancels_exactly() -> None:
    field = torch.zeros(1, 3, *SIZE)
    assert not field_slope(lambda fields: fields.square().sum(1), field, SPREAD, 1, generator()).any()


def test_nothing_is_differentiated() -> None:
    field = random_field(0).requires_grad_()
    assert not field_slope(lambda fields: fields[:, 0], field, SPREAD, 2, generator()).requires_grad
