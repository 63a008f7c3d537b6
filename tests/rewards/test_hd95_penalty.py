"""HD95 as a reward: against known shifts, the metric, and structures that are lost or absent."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from morphseek_monai.rewards import HD95Penalty, RewardState

SIZE = (10, 12, 14)


def state(shifts: list[float], labels: int = 1) -> RewardState:
    """Boxes, and fields that look ``shifts`` voxels along the last axis."""
    label = torch.zeros(1, 1, *SIZE, dtype=torch.uint8)
    for number in range(labels):
        label[..., 2:8, 2 + 5 * number : 5 + 5 * number, 4:9] = number + 1
    ddf = torch.zeros(len(shifts), 3, *SIZE)
    ddf[:, 2] = torch.tensor(shifts)[:, None, None, None]
    return RewardState(label, label.clone(), ddf[:1], ddf)


@pytest.mark.parametrize("spacing", [1.0, (1.0, 1.0, 2.5)])
def test_a_shifted_box_is_as_far_away_as_it_was_shifted(spacing: float | tuple[float, ...]) -> None:
    unit = spacing if isinstance(spacing, float) else spacing[2]
    found = HD95Penalty(2, spacing)(state([0.0, 1.0, -2.0, 3.0]))
    torch.testing.assert_close(found, -unit * torch.tensor([0.0, 1.0, 2.0, 3.0]))


def test_a_lost_label_costs_more_than_any_distance() -> None:
    lost, far = HD95Penalty(2, (1.0, 1.0, 2.0))(state([50.0, 4.0])).tolist()
    assert lost == pytest.approx(-((10**2 + 12**2 + 28**2) ** 0.5))
    assert lost < far < 0
    assert HD95Penalty(2, lost=7.0)(state([50.0])).tolist() == [-7.0]


def test_labels_that_one_image_lacks_do_not_count() -> None:
    given = state([2.0], labels=2)
    both = HD95Penalty(3)(given)
    given.fixed_label[given.fixed_label == 2] = 0
    torch.testing.assert_close(HD95Penalty(3)(given), both)
    given.fixed_label.zero_()
    assert HD95Penalty(3)(given).tolist() == [0.0]


def test_fields_are_rated_one_by_one() -> None:
    given = state([0.0, 1.0, 2.0], labels=2)
    reward = HD95Penalty(3)
    alone: list[Tensor] = [reward(given._replace(ddf=field[None])) for field in given.ddf]
    assert torch.equal(reward(given), torch.cat(alone))
