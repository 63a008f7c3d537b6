"""Dice gain against MONAI's Dice of warped one-hot volumes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from monai.metrics import DiceMetric
from monai.networks import one_hot
from torch import Tensor

from morphseek_monai.rewards import DiceGain, RewardState

NUM_LABELS = 5


def _state(trajectories: int = 4, seed: int = 0) -> RewardState:
    generator = torch.Generator().manual_seed(seed)
    moving, fixed = (
        torch.randint(0, NUM_LABELS, (1, 1, 7, 8, 9), generator=generator).byte() for _ in range(2)
    )
    fields = 1.5 * torch.randn(trajectories + 1, 3, 7, 8, 9, generator=generator)
    return RewardState(moving, fixed, previous=fields[:1], ddf=fields[1:])


def _monai_dice(moving: Tensor, fixed: Tensor, ddf: Tensor) -> Tensor:
    """Mean Dice ``(J,)``: nearest ``grid_sample`` of each one-hot channel, MONAI's metric, label by label."""
    size = torch.tensor(ddf.shape[2:])
    grid = torch.stack(torch.meshgrid(*(torch.arange(float(n)) for n in size), indexing="ij"))
    position = torch.floor(grid + ddf + 0.5)  # halves round up, which grid_sample alone does not promise
    normalised = 2 * position.movedim(1, -1) / (size - 1) - 1
    channels = one_hot(moving, NUM_LABELS).expand(len(ddf), -1, -1, -1, -1)
    warped = F.grid_sample(
        channels, normalised.flip(-1), mode="nearest", padding_mode="zeros", align_corners=True
    )
    metric = DiceMetric(include_background=False, reduction="none")
    dice = metric(warped, one_hot(fixed, NUM_LABELS).expand_as(warped))
    assert isinstance(dice, Tensor)
    present = [label for label in range(1, NUM_LABELS) if (moving == label).any() and (fixed == label).any()]
    return dice[:, [label - 1 for label in present]].mean(dim=1)


@pytest.mark.parametrize("missing", [None, "moving", "fixed"])
def test_equals_monai(missing: str | None) -> None:
    state = _state()
    if missing == "moving":
        state.moving_label[state.moving_label == 2] = 0
    if missing == "fixed":
        state.fixed_label[state.fixed_label == 2] = 0
    expected = _monai_dice(state.moving_label, state.fixed_label, state.ddf)
    expected = expected - _monai_dice(state.moving_label, state.fixed_label, state.previous)
    gain = DiceGain(NUM_LABELS)(state)
    assert gain.shape == (4,)
    torch.testing.assert_close(gain, expected)


def test_sign() -> None:
    moving, fixed = torch.zeros(2, 1, 1, 9, 9, 9, dtype=torch.uint8)
    moving[..., 4:7, 3:6, 3:6] = 1
    fixed[..., 3:6, 3:6, 3:6] = 1
    ddf = torch.zeros(3, 3, 9, 9, 9)
    ddf[0, 0], ddf[2, 0] = 1.0, -1.0  # towards the moving box, nowhere, away from it
    gain = DiceGain(2)(RewardState(moving, fixed, torch.zeros(1, 3, 9, 9, 9), ddf))
    torch.testing.assert_close(gain, torch.tensor([1 / 3, 0.0, -1 / 3]))


def test_trajectories_in_any_order_and_chunk() -> None:
    reward, state = DiceGain(NUM_LABELS), _state()
    together = reward(state)
    order = torch.tensor([3, 1, 0, 2])
    assert torch.equal(reward(state._replace(ddf=state.ddf[order])), together[order])
    prepared = reward.prepare(state)
    chunks = [reward(prepared._replace(ddf=chunk)) for chunk in state.ddf.split(3)]
    assert torch.equal(torch.cat(chunks), together)


def test_prepared_state_is_not_measured_again() -> None:
    """After ``prepare`` the previous field is not read any more, and before it the trajectories are not."""
    reward, state = DiceGain(NUM_LABELS), _state()
    prepared = reward.prepare(state._replace(ddf=torch.empty(0)))
    nowhere = torch.full_like(state.previous, 100.0)
    assert torch.equal(reward(prepared._replace(previous=nowhere, ddf=state.ddf)), reward(state))
    assert not torch.equal(reward(state._replace(previous=nowhere)), reward(state))


@pytest.mark.parametrize("which", ["moving", "fixed", "both"])
def test_no_common_label_gives_gain_0(which: str) -> None:
    state = _state()
    if which in ("moving", "both"):
        state.moving_label.zero_()
    if which in ("fixed", "both"):
        state.fixed_label.zero_()
    assert torch.equal(DiceGain(NUM_LABELS)(state), torch.zeros(4))


def test_carries_no_gradient() -> None:
    state = _state()
    gain = DiceGain(NUM_LABELS)(state._replace(ddf=state.ddf.requires_grad_()))
    assert not gain.requires_grad


def test_refuses_labels_out_of_range() -> None:
    with pytest.raises(ValueError, match="must hold labels in 0..2, got 0..4"):
        DiceGain(3)(_state())
