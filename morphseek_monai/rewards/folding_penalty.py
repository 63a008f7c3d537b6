"""Reward against folding."""

from __future__ import annotations

import torch
from torch import Tensor

from morphseek_monai.fields import njd_percent
from morphseek_monai.rewards.reward import Reward, RewardState


class FoldingPenalty(Reward):
    """Minus the share of voxels with a non-positive Jacobian determinant: 0 without folds, -1 at worst."""

    @torch.no_grad()
    def __call__(self, state: RewardState) -> Tensor:
        """Penalties ``(J,)`` in [-1, 0]."""
        return -njd_percent(state.ddf) / 100
