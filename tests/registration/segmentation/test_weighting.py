"""Local weights against correlations that NumPy computes patch by patch."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from morphseek_monai.inference.image_forces import FLOOR
from morphseek_monai.registration.segmentation.weighting import PERFECT, local_weights


def texture(seed: int, size: tuple[int, int, int] = (20, 18, 16)) -> np.ndarray:
    return ndimage.gaussian_filter(np.random.default_rng(seed).random(size), 1)


def test_the_weight_is_the_inverse_distance_of_the_patches() -> None:
    one, other = texture(0), 0.6 * texture(0) + 0.4 * texture(1)
    weights = local_weights(one, other, radius=2, power=3)
    noise = [FLOOR * np.ptp(np.percentile(image, [0.1, 99.9])) ** 2 for image in (one, other)]
    for x, y, z in ((5, 6, 7), (10, 9, 8), (14, 12, 11)):
        patch = (slice(x - 2, x + 3), slice(y - 2, y + 3), slice(z - 2, z + 3))
        covariance = np.cov(one[patch].ravel(), other[patch].ravel(), bias=True)
        correlation = covariance[0, 1] / np.sqrt((covariance[0, 0] + noise[0]) * (covariance[1, 1] + noise[1]))
        assert weights[x, y, z] == pytest.approx((1 + PERFECT - correlation) ** -3, rel=0.01)


def test_gain_and_offset_do_not_count_and_damage_does() -> None:
    scan = texture(0)
    spoilt = scan.copy()
    spoilt[:8] = texture(5)[:8]
    same, damaged = local_weights(scan, 3 * scan + 40), local_weights(scan, spoilt)
    assert same.min() > 1e5  # 1 / 0.02 to the fourth is 6e6
    assert damaged[:4].max() < 0.001 * damaged[13:].min()


def test_unlike_contrasts_are_no_damage() -> None:
    """A T1 atlas of a T2 scan: bright where that is dark."""
    scan = texture(0) + 0.5
    assert local_weights(scan, 10 - scan).min() > 1e5


def test_where_nothing_is_seen_all_atlases_count_alike() -> None:
    scan = texture(0)
    scan[:, :9] = 0
    one, other = (local_weights(scan, texture(seed)) for seed in (1, 2))
    np.testing.assert_allclose(one[:, :4], (1 + PERFECT) ** -4.0, rtol=1e-3)
    np.testing.assert_allclose(one[:, :4], other[:, :4], rtol=1e-3)


def test_power_0_is_the_majority() -> None:
    np.testing.assert_array_equal(local_weights(texture(0), texture(1), power=0), 1)


def test_a_thin_slab_is_seen_through_a_thin_window() -> None:
    weights = local_weights(texture(0, (20, 18, 8)), texture(0, (20, 18, 8)), radius=6)
    assert weights.shape == (20, 18, 8) and np.isfinite(weights).all()
