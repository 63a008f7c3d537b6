"""How far wrong labels lie from where they belong: local credit for surface distances."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from morphseek_monai.fields import warp_labels
from morphseek_monai.metrics.labels import label_counts
from morphseek_monai.rewards.reward import Reward, RewardState


class LocalDistance(Reward):
    """Minus the distance of every wrongly labelled voxel from the fixed label's surface, to a power.

    A Hausdorff distance is one number of a few voxels; it is the far ones that must move. A voxel where exactly one of
    the two images shows label ``l`` costs ``distance ** power``, divided by the fixed label's voxels and by the number
    of labels that both images have. Distances are to the fixed label alone, as in the one-sided loss of Karimi and
    Salcudean (IEEE TMI 2020), here of hard labels and without gradient. Needs ``scipy``.

    Args:
        num_labels: number of labels with the background, whose distances do not count.
        power: 2 (default) lets one voxel three voxels off cost as much as nine at the border.
    """

    def __init__(self, num_labels: int, power: float = 2.0) -> None:
        self.num_labels = num_labels
        self.power = power

    @torch.no_grad()
    def __call__(self, state: RewardState) -> Tensor:
        """Costs ``(J, D, H, W)``, none positive."""
        price = self._prices(state)
        fixed = state.fixed_label[:, 0].long()
        maps = []
        for ddf in state.ddf[:, None]:  # one by one: memory for one volume of look-ups, not for J
            warped = warp_labels(state.moving_label, ddf, padding="zeros")[:, 0].long()
            cost = price.gather(0, warped) + price.gather(0, fixed)
            maps.append(-cost * (warped != fixed))
        return torch.cat(maps)

    def _prices(self, state: RewardState) -> Tensor:
        """What a voxel costs that is on the wrong side of a label's surface: ``(num_labels, D, H, W)``."""
        from scipy.ndimage import distance_transform_edt

        counts = [label_counts(labels, self.num_labels)[0] for labels in (state.fixed_label, state.moving_label)]
        present = ((counts[0] > 0) & (counts[1] > 0)).tolist()
        fixed = state.fixed_label[0, 0].cpu().numpy()
        price = np.zeros((self.num_labels, *fixed.shape), np.float32)
        for label in [number for number in range(1, self.num_labels) if present[number]]:
            inside = fixed == label
            distance = distance_transform_edt(inside) + distance_transform_edt(~inside)  # one of the two is 0
            price[label] = distance**self.power / (inside.sum() * sum(present[1:]))
        return torch.from_numpy(price).to(state.ddf.device)
