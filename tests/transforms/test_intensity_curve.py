"""Random curves from intensity to intensity."""

from __future__ import annotations

import pytest
import torch

from morphseek_monai.transforms import RandIntensityCurved
from morphseek_monai.transforms.intensity_curve import _look_up

RAMP = torch.linspace(0, 1, 101).view(1, 101, 1, 1).expand(2, 101, 2, 2)


def test_curves_are_linear_between_their_points() -> None:
    values = _look_up(torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0, 1.5, -1.0]), torch.tensor([0.2, 1.0, 0.0]))
    torch.testing.assert_close(values, torch.tensor([0.2, 0.6, 1.0, 0.5, 0.0, 0.0, 0.2]))


@pytest.mark.parametrize("seed", range(8))
def test_curves_use_the_whole_range(seed: int) -> None:
    drawn = RandIntensityCurved(prob=1.0).set_random_state(seed)({"image": RAMP})["image"]
    for channel in drawn:
        assert 0 <= float(channel.min()) < 0.03 and 0.97 < float(channel.max()) <= 1


def test_some_are_not_monotone() -> None:
    draw = RandIntensityCurved(prob=1.0, points=(4, 6)).set_random_state(0)
    steps = [draw({"image": RAMP})["image"][0, :, 0, 0].diff() for _ in range(10)]
    assert sum(bool((s > 0).any() and (s < 0).any()) for s in steps) > 5


@pytest.mark.parametrize("seed", range(4))
def test_zero_stays_zero(seed: int) -> None:
    kept = RandIntensityCurved(prob=1.0, keep_zero=1.0).set_random_state(seed)({"image": RAMP})["image"]
    assert not kept[:, 0].any() and kept.any()


def test_curves_are_shared_or_not() -> None:
    for shared in (0.0, 1.0):
        drawn = RandIntensityCurved(prob=1.0, shared=shared).set_random_state(0)({"image": RAMP})["image"]
        assert torch.equal(drawn[0], drawn[1]) == bool(shared)


def test_refuses_a_point() -> None:
    with pytest.raises(ValueError, match=r"'points' must be \(low, high\), at least 2, got \(1, 3\)"):
        RandIntensityCurved(points=(1, 3))
