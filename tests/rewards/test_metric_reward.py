"""Metrics as rewards."""

from __future__ import annotations

import pytest
import torch

from morphseek_monai.metrics import RegistrationDice, RegistrationHD95
from morphseek_monai.rewards import MetricReward, RewardState


def state(*shifts: float) -> RewardState:
    """Two labels, of which the field must move by 2 voxels along the first axis to fit."""
    fixed = torch.zeros(1, 1, 14, 10, 10, dtype=torch.uint8)
    fixed[..., 4:7, 2:8, 2:8] = 1
    fixed[..., 7:10, 2:8, 2:8] = 2
    ddf = torch.zeros(len(shifts), 3, 14, 10, 10)
    for field, shift in zip(ddf, shifts, strict=True):
        field[0] = shift
    return RewardState(fixed.roll(2, dims=2), fixed, torch.zeros_like(ddf[:1]), ddf)


def test_is_the_weighted_mean_over_the_labels() -> None:
    given = state(0.0, 1.0, 2.0)
    pytest.importorskip("scipy")
    torch.testing.assert_close(
        MetricReward(RegistrationHD95(3), weight=-0.5)(given), torch.tensor([-1.0, -0.5, 0.0])
    )
    overlap = MetricReward(RegistrationDice(3), weight=1.0)(given)
    torch.testing.assert_close(overlap, torch.tensor([1 / 3, 2 / 3, 1.0]))


def test_a_lost_label_is_worst_and_a_pair_without_labels_earns_nothing() -> None:
    pytest.importorskip("scipy")
    reward = MetricReward(RegistrationHD95(3), worst=40.0)
    torch.testing.assert_close(reward(state(50.0)), torch.tensor([-4.0]))
    assert reward(state(0.0)._replace(moving_label=torch.zeros(1, 1, 14, 10, 10, dtype=torch.uint8))) == 0


def test_nan_does_not_pass_for_a_label_that_is_not_there() -> None:
    """A field that is not finite must not be rewarded."""
    given = state(2.0)
    given.ddf[:, :, 5] = torch.nan
    assert not MetricReward(RegistrationDice(3), weight=1.0)(given) > 0.99
