"""Distances of wrong labels against cubes that are moved by known steps."""

from __future__ import annotations

import pytest
import torch

from morphseek_monai.rewards import LocalDistance, RewardState

pytest.importorskip("scipy")
EDGE = 4


def state(*shifts: float) -> RewardState:
    """A cube that fits where the field is zero, and fields that move the whole of it."""
    label = torch.zeros(1, 1, 20, 12, 12, dtype=torch.uint8)
    label[..., 8 : 8 + EDGE, 4 : 4 + EDGE, 4 : 4 + EDGE] = 1
    ddf = torch.zeros(len(shifts), 3, 20, 12, 12)
    for field, shift in zip(ddf, shifts, strict=True):
        field[0] = shift
    return RewardState(label, label.clone(), torch.zeros_like(ddf[:1]), ddf)


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_every_wrong_voxel_costs_its_distance(power: float) -> None:
    """Moved by 2 of 4 voxels, the layers beyond are 1 and 2 away, those missed 1 and 2 inside: all along one axis."""
    cost = LocalDistance(2, power)(state(0.0, 1.0, 2.0)).sum((1, 2, 3)) * EDGE**3
    layer = EDGE**2
    inside = torch.tensor([[1.0, 1, 1, 1], [1, 2, 2, 1], [1, 2, 2, 1], [1, 1, 1, 1]]).pow(power).sum()
    expected = [0.0, layer + layer, layer * (1 + 2**power) + layer + float(inside)]
    torch.testing.assert_close(cost, -torch.tensor(expected))


def test_costs_where_it_is_wrong_and_nothing_else() -> None:
    cost = LocalDistance(2)(state(3.0))[0]
    assert (cost[5:8, 4:8, 4:8] < 0).all()
    assert (cost[9:12, 4:8, 4:8] < 0).all()
    assert (cost < 0).sum() == 6 * EDGE**2


def test_two_labels_share_and_an_absent_one_is_left_out() -> None:
    one = state(1.0)
    two = one._replace(moving_label=one.moving_label.clone(), fixed_label=one.fixed_label.clone())
    two.fixed_label[..., 0, 0, 0] = 2
    torch.testing.assert_close(LocalDistance(3)(two)[0, 4:], LocalDistance(2)(one)[0, 4:])
    two.moving_label[..., 0, 0, 0] = 2
    torch.testing.assert_close(LocalDistance(3)(two)[0, 6:], LocalDistance(2)(one)[0, 6:] / 2)
