"""Dice of the labels that a displacement field carries from the moving to the fixed image."""

from __future__ import annotations

from torch import Tensor

from morphseek_monai.fields import warp_labels
from morphseek_monai.metrics.dice import hard_dice
from morphseek_monai.metrics.registration_metric import RegistrationMetric, split_pair


class RegistrationDice(RegistrationMetric):
    """Dice between the fixed and the warped moving labels: nearest neighbour, background beyond the image.

    The buffer is ``(pairs, num_labels - 1)`` with NaN for labels absent in the fixed or the moving image.

    Args:
        num_labels: number of labels with the background.
    """

    def __init__(self, num_labels: int) -> None:
        super().__init__()
        self.num_labels = num_labels

    def measure(self, ddf: Tensor, label: Tensor | None) -> Tensor:
        """Dice ``(B, num_labels - 1)``; see :func:`morphseek_monai.metrics.hard_dice`."""
        moving, fixed = split_pair(label, type(self).__name__)
        return hard_dice(fixed, warp_labels(moving, ddf, padding="zeros"), self.num_labels, moving=moving)
