"""Metrics of the regularity of displacement fields; they need no labels."""

from __future__ import annotations

from torch import Tensor

from morphseek_monai.fields import njd_percent, sdlogj, sdlogj_l2r
from morphseek_monai.metrics.registration_metric import RegistrationMetric


class FoldingPercent(RegistrationMetric):
    """Percentage of voxels whose Jacobian determinant is not positive (NJD); buffer ``(pairs, 1)``."""

    def measure(self, ddf: Tensor, label: Tensor | None) -> Tensor:
        """NJD in percent ``(B, 1)``."""
        return njd_percent(ddf).unsqueeze(1)


class SDLogJ(RegistrationMetric):
    """Standard deviation of the logarithm of the Jacobian determinant; buffer ``(pairs, 1)``.

    Not comparable with Learn2Reg's leaderboards: see :class:`SDLogJLearn2Reg`.
    """

    def measure(self, ddf: Tensor, label: Tensor | None) -> Tensor:
        """SDlogJ ``(B, 1)``."""
        return sdlogj(ddf).unsqueeze(1)


class SDLogJLearn2Reg(RegistrationMetric):
    """SDlogJ exactly as Learn2Reg's official scorer computes it, with 3 added to every determinant.

    Only this figure may be compared with Learn2Reg's leaderboards.
    """

    def measure(self, ddf: Tensor, label: Tensor | None) -> Tensor:
        """Learn2Reg's SDlogJ ``(B, 1)``."""
        return sdlogj_l2r(ddf).unsqueeze(1)
