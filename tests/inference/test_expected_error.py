"""The expected error: larger where images are flat or differ, in the unit of the voxels, a guide to a known error."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor

from morphseek_monai.fields import warp
from morphseek_monai.fields.separable import apply_separable, gaussian_matrix
from morphseek_monai.inference.expected_error import FACTOR, agreement, expected_error

SIZE = (32, 32, 32)
INNER = (..., slice(4, -4), slice(4, -4), slice(4, -4))


def smooth_noise(sigma: float, seed: int) -> Tensor:
    """``(1, 1, D, H, W)`` between 0 and 1."""
    noise = torch.randn(1, *SIZE, generator=torch.Generator().manual_seed(seed))
    smooth = apply_separable(noise, [gaussian_matrix(n, sigma) for n in SIZE])[None]
    return (smooth - smooth.min()) / (smooth.max() - smooth.min())


def error_of(fixed: Tensor, warped: Tensor, seen: Tensor | None = None) -> Tensor:
    return expected_error(agreement(fixed, warped, seen), [1.0, 1.0, 1.0])


def test_it_ranks_the_lengths_of_a_known_error() -> None:
    fixed = 3 * smooth_noise(1.0, 0)
    growing = torch.linspace(0, 2, SIZE[0])[:, None, None]
    ddf = torch.cat([smooth_noise(5.0, seed) for seed in (1, 2, 3)], dim=1) * growing
    found = error_of(fixed, warp(fixed, ddf))
    length = torch.linalg.vector_norm(ddf, dim=1, keepdim=True)
    assert spearmanr(found[INNER].flatten(), length[INNER].flatten()).statistic > 0.6


def test_where_either_image_is_flat_or_unseen_it_is_the_largest() -> None:
    fixed = 5 * smooth_noise(1.0, 0)
    fixed[..., :16, :, :] = 0.4
    seen = torch.ones_like(fixed)
    seen[..., :, :, 16:] = 0
    found = error_of(fixed, fixed, seen)
    textured = found[0, 0, 20:, :, :15]
    assert found[0, 0, :12].min() == pytest.approx(FACTOR, rel=0.01) and found[0, 0, :, :, 16:].min() > 0.99 * FACTOR
    assert textured.mean() < 0.4 * FACTOR


def test_noise_in_the_air_is_no_texture() -> None:
    air = 1e-3 * smooth_noise(1.0, 0)
    assert agreement(air, air).max() < 0.01


@pytest.mark.parametrize(("scale", "shift"), [(0.5, 0.0), (0.6, 0.3), (-1.0, 1.0)])
def test_the_scale_of_intensities_is_nothing_to_it(scale: float, shift: float) -> None:
    fixed, warped = (20 * smooth_noise(1.0, seed) for seed in (0, 1))  # variances far above noise
    torch.testing.assert_close(error_of(fixed, warped), error_of(fixed, scale * warped + shift), rtol=1e-2, atol=1e-3)


def test_it_is_in_the_unit_of_the_voxels() -> None:
    found = agreement(smooth_noise(1.5, 0), smooth_noise(1.5, 1))
    once, twice = expected_error(found, [1.0, 1.0, 1.0]), expected_error(found, np.array([2.0, 2.0, 2.0]))
    torch.testing.assert_close(twice, 2 * once)
    torch.testing.assert_close(expected_error(found, [1.0, 2.0, 4.0]), twice)
    assert isinstance(expected_error(found.numpy(), [1.0, 1.0, 1.0]), np.ndarray)


def test_contrasts_count_alike() -> None:
    fixed, other = smooth_noise(1.5, 0), smooth_noise(1.5, 1)
    both = agreement(torch.cat([fixed, fixed], 1), torch.cat([fixed, other], 1))
    torch.testing.assert_close(both, (agreement(fixed, fixed) + agreement(fixed, other)) / 2)


@pytest.mark.parametrize("spacing", [[1.0, 1.0], [1.0, 1.0, 0.0], [1.0, -1.0, 1.0]])
def test_a_spacing_that_is_none(spacing: list[float]) -> None:
    with pytest.raises(ValueError, match=r"'spacing' must be three positive numbers in mm, got \[1.0"):
        expected_error(np.zeros(1), spacing)
