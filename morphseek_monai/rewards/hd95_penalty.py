"""Reward against distant surfaces."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from morphseek_monai.metrics import RegistrationHD95
from morphseek_monai.rewards.reward import Reward, RewardState


class HD95Penalty(Reward):
    """Minus the mean 95th percentile Hausdorff distance of the labels that both unwarped maps have.

    The distance is that of :class:`~morphseek_monai.metrics.RegistrationHD95`, which needs ``scipy``. It is one number
    for the whole field: credit it at the field, with smooth noise and many samples (``GRPOTrainer(action="field",
    noise_spacing=12, spread=1.0, trajectories=32)``), beside soft Dice (``docs/benchmarks/policy.md``).

    Args:
        num_labels: number of labels with the background.
        spacing: voxel size of the network's grid in mm, one number or one per axis; 1.0 (default) gives voxels.
        lost: what a label costs that warping loses; None (default) takes the diagonal of the image, which no distance
            exceeds, so that losing a label never pays.
    """

    def __init__(self, num_labels: int, spacing: float | Sequence[float] = 1.0, lost: float | None = None) -> None:
        self.distance = RegistrationHD95(num_labels, spacing)
        self.lost = lost

    @torch.no_grad()
    def __call__(self, state: RewardState) -> Tensor:
        """Penalties ``(J,)``, at most 0; 0 for a pair without a common label."""
        size, spacing = torch.tensor(state.ddf.shape[2:]), torch.as_tensor(self.distance.spacing)
        lost = float((size * spacing).square().sum().sqrt()) if self.lost is None else self.lost
        label = torch.cat([state.moving_label, state.fixed_label], dim=1).expand(len(state.ddf), -1, -1, -1, -1)
        distances = self.distance.measure(state.ddf, label)  # NaN: no common label
        return -torch.where(distances == math.inf, lost, distances).nanmean(dim=1).nan_to_num(nan=0.0)
