"""Where in the image a trajectory gained and lost label overlap: local credit instead of one number."""

from __future__ import annotations

import torch
from torch import Tensor

from morphseek_monai.fields import jacobian_determinant, warp_labels
from morphseek_monai.metrics.labels import label_counts
from morphseek_monai.rewards.reward import Reward, RewardState


class LocalDiceGain(Reward):
    """Contribution of every voxel to the mean hard Dice, less that of its folding.

    Dice ``2 O / (F + W)`` of a label is a ratio of sums over the voxels. Expanded to first order at the field before
    the step, a voxel that shows label ``l`` adds ``2 / (F + W)`` if the fixed image has ``l`` there, and costs
    ``Dice / (F + W)`` either way, divided by the number of labels that both images have. The sum over the voxels is,
    up to a constant that all trajectories share, the first-order change of the mean Dice.

    Args:
        num_labels: number of labels with the background, which earns nothing.
        folding_weight: cost of a voxel that folds, in units in which all voxels together cost this much (the weight of
            ``FoldingPenalty``).
    """

    def __init__(self, num_labels: int, folding_weight: float = 1.0) -> None:
        self.num_labels = num_labels
        self.folding_weight = folding_weight

    @torch.no_grad()
    def __call__(self, state: RewardState) -> Tensor:
        """Contributions ``(J, D, H, W)``."""
        earned, cost = self._prices(state)
        fixed = state.fixed_label[:, 0].long()
        maps = []
        for ddf in state.ddf[:, None]:  # one by one: memory for one volume of look-ups, not for J
            warped = warp_labels(state.moving_label, ddf, padding="zeros")[:, 0].long()
            credit = earned[warped] * (warped == fixed) - cost[warped]
            folded = jacobian_determinant(ddf) <= 0
            maps.append(credit - self.folding_weight / credit.numel() * folded)
        return torch.cat(maps)

    def _prices(self, state: RewardState) -> tuple[Tensor, Tensor]:
        """What an agreeing voxel of each label earns, and what any voxel of it costs: ``(num_labels,)`` each."""
        previous = warp_labels(state.moving_label, state.previous, padding="zeros")
        fixed, warped, moving, overlap = (
            label_counts(labels, self.num_labels)[0]
            for labels in (
                state.fixed_label,
                previous,
                state.moving_label,
                torch.where(previous == state.fixed_label, previous, torch.zeros_like(previous)),
            )
        )
        present = (fixed > 0) & (moving > 0)
        present[0] = False
        size = (fixed + warped).clamp(min=1).float()
        share = present / (size * present.sum().clamp(min=1))
        return 2 * share, 2 * overlap / size * share
