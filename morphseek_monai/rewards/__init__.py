"""Rewards of trajectories: functions from a state to ``(J,)`` without gradient."""

from __future__ import annotations

from morphseek_monai.rewards.dice_gain import DiceGain
from morphseek_monai.rewards.folding_penalty import FoldingPenalty
from morphseek_monai.rewards.local_dice_gain import LocalDiceGain
from morphseek_monai.rewards.reward import Reward, RewardState
from morphseek_monai.rewards.weighted_reward import WeightedReward

__all__ = ["DiceGain", "FoldingPenalty", "LocalDiceGain", "Reward", "RewardState", "WeightedReward"]
