"""Weighted sum of rewards."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from morphseek_monai.rewards.reward import Reward, RewardState


class WeightedReward(Reward):
    """Weighted sum of named rewards.

    Args:
        rewards: :class:`Reward` objects, or plain functions from a state to ``(J,)``, by name.
        weights: weight of each reward, by the same names.

    Raises:
        ValueError: When the names of ``rewards`` and ``weights`` differ.

    Example, MorphSeek's ``w_Dice * (Dice_j - Dice_previous) - w_NJD * NJD_j``:
        >>> from morphseek_monai.rewards import DiceGain, FoldingPenalty
        >>> reward = WeightedReward(
        ...     rewards={"dice": DiceGain(num_labels=36), "folding": FoldingPenalty()},
        ...     weights={"dice": 1.0, "folding": 1.0},
        ... )
    """

    def __init__(
        self, rewards: Mapping[str, Callable[[RewardState], Tensor]], weights: Mapping[str, float]
    ) -> None:
        if rewards.keys() != weights.keys():
            raise ValueError(
                f"WeightedReward() 'weights' must have the names {list(rewards)}, got {list(weights)}"
            )
        self.rewards = dict(rewards)
        self.weights = dict(weights)

    def __call__(self, state: RewardState) -> Tensor:
        """Weighted sums ``(J,)``."""
        terms = self.terms(state)
        return torch.stack([self.weights[name] * term for name, term in terms.items()]).sum(dim=0)

    @torch.no_grad()
    def terms(self, state: RewardState) -> dict[str, Tensor]:
        """Each reward ``(J,)`` by name, not weighted, for logging."""
        return {name: reward(state) for name, reward in self.rewards.items()}

    def prepare(self, state: RewardState) -> RewardState:
        """Let each reward fill in what the trajectories share."""
        for reward in self.rewards.values():
            if isinstance(reward, Reward):
                state = reward.prepare(state)
        return state
