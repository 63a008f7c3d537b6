"""MorphSeek's reward as a weighted sum, and foreign functions in it."""

from __future__ import annotations

import pytest
import torch
from monai.bundle import ConfigParser
from torch import Tensor

from morphseek_monai.fields import njd_percent, warp_labels
from morphseek_monai.metrics import hard_dice
from morphseek_monai.rewards import DiceGain, FoldingPenalty, Reward, RewardState, WeightedReward


def _state(trajectories: int = 5) -> RewardState:
    generator = torch.Generator().manual_seed(0)
    moving, fixed = (torch.randint(0, 4, (1, 1, 8, 8, 8), generator=generator).byte() for _ in range(2))
    fields = torch.randn(trajectories + 1, 3, 8, 8, 8, generator=generator)
    return RewardState(moving, fixed, previous=0.3 * fields[:1], ddf=fields[1:])


def _morphseek(dice: float, folding: float) -> WeightedReward:
    return WeightedReward(
        {"dice": DiceGain(4), "folding": FoldingPenalty()}, {"dice": dice, "folding": folding}
    )


def test_is_the_papers_reward() -> None:
    state = _state()
    warped = warp_labels(state.moving_label, torch.cat([state.previous, state.ddf]))
    dice = hard_dice(state.fixed_label, warped, 4).nanmean(dim=1)
    expected = 2.0 * (dice[1:] - dice[0]) - 0.5 * njd_percent(state.ddf) / 100
    torch.testing.assert_close(_morphseek(2.0, 0.5)(state), expected)


def test_terms_are_not_weighted() -> None:
    state = _state()
    terms = _morphseek(2.0, 0.5).terms(state)
    assert list(terms) == ["dice", "folding"]
    assert torch.equal(terms["dice"], DiceGain(4)(state))
    assert torch.equal(terms["folding"], FoldingPenalty()(state))


def test_prepare_reaches_the_parts_and_chunks_agree() -> None:
    reward, state = _morphseek(1.0, 1.0), _state()
    prepared = reward.prepare(state)
    assert prepared.previous_dice is not None
    chunks = [reward(prepared._replace(ddf=chunk)) for chunk in state.ddf.split(2)]
    assert torch.equal(torch.cat(chunks), reward(state))


def test_order_of_the_trajectories_does_not_matter() -> None:
    reward, state = _morphseek(1.0, 1.0), _state()
    order = torch.tensor([4, 2, 0, 1, 3])
    assert torch.equal(reward(state._replace(ddf=state.ddf[order])), reward(state)[order])


def test_takes_plain_functions_and_drops_their_gradient() -> None:
    def shortness(state: RewardState) -> Tensor:
        return -state.ddf.square().mean(dim=(1, 2, 3, 4))

    state = _state()
    state.ddf.requires_grad_()
    reward = WeightedReward({"short": shortness}, {"short": 3.0})
    assert reward.prepare(state) == state
    assert not reward(state).requires_grad
    torch.testing.assert_close(reward(state), 3 * shortness(state).detach())


def test_nests_and_can_be_written_in_a_bundle_config() -> None:
    config = {
        "reward": {
            "_target_": "morphseek_monai.rewards.WeightedReward",
            "rewards": {
                "dice": {"_target_": "morphseek_monai.rewards.DiceGain", "num_labels": 4},
                "folding": {"_target_": "morphseek_monai.rewards.FoldingPenalty"},
            },
            "weights": {"dice": 1.0, "folding": 10.0},
        }
    }
    reward = ConfigParser(config).get_parsed_content("reward")
    assert isinstance(reward, Reward)
    torch.testing.assert_close(reward(_state()), _morphseek(1.0, 10.0)(_state()))


def test_refuses_weights_of_other_names() -> None:
    with pytest.raises(ValueError, match=r"'weights' must have the names \['dice'\], got \['folding'\]"):
        WeightedReward({"dice": DiceGain(4)}, {"folding": 1.0})
