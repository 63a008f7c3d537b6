"""Reward for label overlap gained by a refinement step."""

from __future__ import annotations

import torch
from torch import Tensor

from morphseek_monai.fields import warp_labels
from morphseek_monai.metrics import hard_dice
from morphseek_monai.rewards.reward import Reward, RewardState


class DiceGain(Reward):
    """``Dice(fixed, moving o Phi_j) - Dice(fixed, moving o Phi_previous)`` with hard labels, in [-1, 1].

    Labels are warped by nearest neighbour, background beyond the image. Dice is the mean over the labels that
    both unwarped maps have (Learn2Reg's rule); a pair without a common label has gain 0.

    Args:
        num_labels: number of labels with the background.
    """

    def __init__(self, num_labels: int) -> None:
        self.num_labels = num_labels

    @torch.no_grad()
    def __call__(self, state: RewardState) -> Tensor:
        """Gains ``(J,)``."""
        previous_dice = state.previous_dice
        if previous_dice is None:
            previous_dice = self._dice(state, state.previous)
        return self._dice(state, state.ddf) - previous_dice

    @torch.no_grad()
    def prepare(self, state: RewardState) -> RewardState:
        """Fill in ``previous_dice``."""
        return state._replace(previous_dice=self._dice(state, state.previous))

    def _dice(self, state: RewardState, ddf: Tensor) -> Tensor:
        warped = warp_labels(state.moving_label, ddf, padding="zeros")
        dice = hard_dice(state.fixed_label, warped, self.num_labels, moving=state.moving_label)
        return dice.nanmean(dim=1).nan_to_num(nan=0.0)
