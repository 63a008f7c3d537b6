"""95th percentile Hausdorff distance of the labels that a displacement field carries to the fixed image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from morphseek_monai.fields import warp_labels
from morphseek_monai.metrics.hausdorff import hd95
from morphseek_monai.metrics.labels import check_labels, label_counts
from morphseek_monai.metrics.registration_metric import RegistrationMetric, split_pair


class RegistrationHD95(RegistrationMetric):
    """Symmetric 95th percentile Hausdorff distance between the fixed and the warped moving labels.

    The distance is that of MONAI (``monai.metrics.compute_hausdorff_distance``; it needs ``scipy`` and works on
    the label's bounding box), one label at a time, so that no one-hot volume is made. Learn2Reg's scorer
    weighs the surface by area and differs slightly.

    The buffer is ``(pairs, num_labels - 1)``: NaN for a label absent in the fixed or the moving image
    (Learn2Reg's rule), infinity for one that both have but that warping lost.

    Args:
        num_labels: number of labels with the background.
        spacing: voxel size in mm, one number or one per axis; the default 1.0 gives voxels, as Learn2Reg
            reports.
    """

    def __init__(self, num_labels: int, spacing: float | Sequence[float] = 1.0) -> None:
        super().__init__()
        self.num_labels = num_labels
        self.spacing = spacing

    def measure(self, ddf: Tensor, label: Tensor | None) -> Tensor:
        """Distances ``(B, num_labels - 1)`` in the unit of ``spacing``."""
        name = type(self).__name__
        moving, fixed = split_pair(label, name)
        check_labels(moving, self.num_labels, name, "y moving")
        check_labels(fixed, self.num_labels, name, "y fixed")
        warped = warp_labels(moving, ddf, padding="zeros")
        present = (label_counts(fixed, self.num_labels) > 0) & (label_counts(moving, self.num_labels) > 0)
        distances = torch.full((len(fixed), self.num_labels - 1), torch.nan, device=ddf.device)
        for item, index in present[:, 1:].nonzero().tolist():
            one, other = (volume[item, 0] == index + 1 for volume in (warped, fixed))
            distances[item, index] = hd95(one, other, self.spacing)
        return distances
