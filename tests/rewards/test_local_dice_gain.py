"""Local credit against the change of the mean Dice that it expands."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from morphseek_monai.rewards import DiceGain, FoldingPenalty, LocalDiceGain, RewardState

NUM_LABELS = 4
SIZE = (10, 11, 12)


def state(trajectories: int, size: float) -> RewardState:
    """Blocks of labels, and fields that differ little from the one before."""
    generator = torch.Generator().manual_seed(0)
    moving, fixed = (
        torch.randint(0, NUM_LABELS, (1, 1, 5, 4, 4), generator=generator).byte().repeat_interleave(3, 2)
        for _ in range(2)
    )
    moving, fixed = (
        labels.repeat_interleave(3, 3).repeat_interleave(3, 4)[..., : SIZE[0], : SIZE[1], : SIZE[2]]
        for labels in (moving, fixed)
    )
    previous = 0.6 * torch.randn(1, 3, *SIZE, generator=generator)
    return RewardState(
        moving, fixed, previous, previous + size * torch.randn(trajectories, 3, *SIZE, generator=generator)
    )


def test_sums_to_the_change_of_dice() -> None:
    small = state(6, 0.05)
    credit = LocalDiceGain(NUM_LABELS, folding_weight=0.0)(small)
    assert credit.shape == (6, *SIZE)
    total = credit.sum((1, 2, 3))
    gain = DiceGain(NUM_LABELS)(small)
    assert gain.std() > 1e-3
    torch.testing.assert_close(total - total.mean(), gain - gain.mean(), atol=3e-4, rtol=0)


def test_folding_costs_where_it_happens() -> None:
    given = state(2, 0.0)
    ddf = torch.zeros(2, 3, *SIZE)
    ddf[1, 0, 5, 5, 5] = 3.0
    given = given._replace(previous=ddf[:1], ddf=ddf)
    difference = LocalDiceGain(NUM_LABELS, 2.0)(given) - LocalDiceGain(NUM_LABELS, 0.0)(given)
    assert not difference[0].any()
    torch.testing.assert_close(difference.sum((1, 2, 3)), 2.0 * FoldingPenalty()(given))
    assert not difference[1, :3].any()


def test_praises_the_place_that_improved() -> None:
    moving, fixed = torch.zeros(2, 1, 1, *SIZE, dtype=torch.uint8)
    moving[..., 2:5, 3:6, 3:6] = 1
    fixed[..., 3:6, 3:6, 3:6] = 1
    still = torch.zeros(1, 3, *SIZE)
    right = still.clone()
    right[:, 0, :7] = -1.0
    credit = LocalDiceGain(NUM_LABELS)(RewardState(moving, fixed, still, torch.cat([still, right])))
    gained = credit[1] - credit[0]
    assert (gained[5, 3:6, 3:6] > 0).all()
    assert (gained[2, 3:6, 3:6] > 0).all()
    assert not gained[7:].any()


@pytest.mark.parametrize("missing", [1, 2])
def test_labels_that_one_image_lacks_earn_nothing(missing: int) -> None:
    given = state(3, 0.3)
    given.fixed_label[given.fixed_label == missing] = 0
    other = given._replace(moving_label=torch.where(given.moving_label == missing, 0, given.moving_label).byte())

    def differences(of: RewardState) -> Tensor:
        credit = LocalDiceGain(NUM_LABELS, folding_weight=0.0)(of)
        return credit - credit[:1]

    torch.testing.assert_close(differences(given), differences(other))
