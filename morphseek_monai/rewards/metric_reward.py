"""Any measure of registrations as a reward, whether it has a gradient or not."""

from __future__ import annotations

import torch
from torch import Tensor

from morphseek_monai.metrics import RegistrationMetric
from morphseek_monai.rewards.reward import Reward, RewardState


class MetricReward(Reward):
    """``weight`` times the mean over the labels of a registration metric.

    Args:
        metric: measures a field against a pair of label maps, e.g.
            :class:`~morphseek_monai.metrics.RegistrationHD95`.
        weight: negative where less is better. -0.1 (default) makes a voxel of Hausdorff distance worth a tenth of Dice.
        worst: value of a label for which the metric gives infinity, since warping lost it.

    Example:
        >>> from morphseek_monai.metrics import RegistrationHD95
        >>> fixed = torch.zeros(1, 1, 8, 8, 8, dtype=torch.uint8)
        >>> fixed[..., 2:6, 2:6, 2:6] = 1
        >>> moving = fixed.roll(1, dims=2)
        >>> still = torch.zeros(1, 3, 8, 8, 8)
        >>> there = still.clone()
        >>> there[:, 0] = 1.0
        >>> MetricReward(RegistrationHD95(num_labels=2))(RewardState(moving, fixed, still, torch.cat([still, there])))
        tensor([-0.1000, -0.0000])
    """

    def __init__(self, metric: RegistrationMetric, weight: float = -0.1, worst: float = 100.0) -> None:
        self.metric = metric
        self.weight = weight
        self.worst = worst

    @torch.no_grad()
    def __call__(self, state: RewardState) -> Tensor:
        """Rewards ``(J,)``; 0 for a pair without a common label."""
        label = torch.cat([state.moving_label, state.fixed_label], dim=1).expand(len(state.ddf), -1, -1, -1, -1)
        values = self.metric.measure(state.ddf, label)
        return self.weight * values.clamp(max=self.worst).nanmean(1).nan_to_num(nan=0.0)
