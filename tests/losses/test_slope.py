"""The slope of an expected reward, where it is known in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import scipy.fft
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


def smoothed(field: Tensor, spacing: int) -> Tensor:
    """Its orthogonal projection on the lowest frequencies, by SciPy's transform."""
    spectrum = scipy.fft.dctn(field.double().numpy(), axes=(2, 3, 4), norm="ortho")
    for axis, n in enumerate(field.shape[2:], start=2):
        spectrum.swapaxes(0, axis)[math.ceil(n / spacing) :] = 0
    return torch.from_numpy(scipy.fft.idctn(spectrum, axes=(2, 3, 4), norm="ortho")).float()


def quadratic(curvature: Tensor, gradient: Tensor) -> Callable[[Tensor], Tensor]:
    """One number for the whole field."""

    def earned(fields: Tensor) -> Tensor:
        return (fields * gradient - curvature * fields.square() / 2).sum((1, 2, 3, 4))

    return earned


@pytest.mark.parametrize("spacing", [3, 4, 100])
def test_smooth_noise_gives_the_projection_of_the_gradient(spacing: int) -> None:
    """Exactly, once there is a pair for each dimension; and no higher frequency is in it."""
    field, gradient, curvature = random_field(0), random_field(1), random_field(2).abs()
    pairs = 3 * math.prod(math.ceil(n / spacing) for n in SIZE)
    found = field_slope(quadratic(curvature, gradient), field, SPREAD, pairs, generator(), spacing)
    wanted = smoothed(gradient - curvature * field, spacing)
    assert wanted.norm() > 0.01
    assert error(found, wanted) < 1e-3
    torch.testing.assert_close(smoothed(found, spacing), found, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("pairs", [12, 50])
def test_few_smooth_pairs_are_unbiased_and_err_as_they_should(pairs: int) -> None:
    """|error|^2 / |gradient|^2 = dimensions / pairs - 1, of orthogonal directions; the mean of many has no bias."""
    field, gradient = random_field(0), random_field(1)
    wanted, dimensions, repeats = smoothed(gradient, 3), 3 * 2 * 3 * 3, 300
    source = generator()
    found = [
        field_slope(quadratic(torch.zeros(1), gradient), field, SPREAD, pairs, source, 3) for _ in range(repeats)
    ]
    squared = sum(error(one, wanted) ** 2 for one in found) / repeats
    assert squared == pytest.approx(dimensions / pairs - 1, rel=0.15)
    assert error(sum(found) / repeats, wanted) < 1.5 * math.sqrt(squared / repeats)


def test_smooth_noise_has_the_size_that_is_asked_for() -> None:
    seen: list[Tensor] = []

    def earned(fields: Tensor) -> Tensor:
        seen.append(fields)
        return torch.zeros(2)

    field = random_field(0)
    field_slope(earned, field, SPREAD, 3, generator(), 3)
    assert len(seen) == 3
    for fields in seen:
        noise = fields - field
        torch.testing.assert_close(noise[0], -noise[1], atol=1e-5, rtol=0)
        assert noise.square().mean().sqrt().item() == pytest.approx(SPREAD, rel=1e-4)


def test_nothing_is_differentiated() -> None:
    field = random_field(0).requires_grad_()
    assert not field_slope(lambda fields: fields[:, 0], field, SPREAD, 2, generator()).requires_grad
