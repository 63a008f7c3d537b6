"""Folding penalty of fields that fold along one axis."""

from __future__ import annotations

import pytest
import torch

from morphseek_monai.fields import njd_percent
from morphseek_monai.rewards import FoldingPenalty, RewardState


def _state(ddf: torch.Tensor) -> RewardState:
    label = torch.zeros(1, 1, *ddf.shape[2:], dtype=torch.uint8)
    return RewardState(label, label, torch.zeros_like(ddf[:1]), ddf)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_mirrored_axis_costs_1_and_a_stretched_one_nothing(axis: int) -> None:
    """``u = -2 x`` along one axis gives det J = -1 everywhere, ``u = x`` gives 2."""
    shape = [1, 1, 1]
    shape[axis] = 8
    plane = torch.arange(8.0).view(shape)
    ddf = torch.zeros(3, 3, 8, 8, 8)
    ddf[0, axis], ddf[1, axis] = -2 * plane, plane
    torch.testing.assert_close(FoldingPenalty()(_state(ddf)), torch.tensor([-1.0, 0.0, 0.0]))


def test_is_a_share_not_a_percentage_and_has_no_gradient() -> None:
    ddf = torch.randn(2, 3, 8, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    penalty = FoldingPenalty()(_state(ddf))
    assert not penalty.requires_grad
    assert (penalty < 0).all()
    torch.testing.assert_close(-100 * penalty, njd_percent(ddf.detach()))
