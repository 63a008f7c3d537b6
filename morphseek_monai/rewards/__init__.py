"""Rewards of trajectories: functions from a state to ``(J,)`` without gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING

from morphseek_monai.base.lazy import lazy_names

if TYPE_CHECKING:
    from .checked_reward import CheckedReward
    from .dice_gain import DiceGain
    from .folding_penalty import FoldingPenalty
    from .hd95_penalty import HD95Penalty
    from .local_dice_gain import LocalDiceGain
    from .reward import Reward, RewardState
    from .weighted_reward import WeightedReward
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

__all__ = [
    "CheckedReward",
    "DiceGain",
    "FoldingPenalty",
    "HD95Penalty",
    "LocalDiceGain",
    "Reward",
    "RewardState",
    "WeightedReward",
]
