"""Metrics of the regularity of displacement fields; they need no labels, one of them may need masks."""

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

    Only this figure may be compared with Learn2Reg's leaderboards; buffer ``(pairs, 1)``.

    Args:
        masked: take the spread inside the fixed image's mask only, as in tasks whose evaluation is masked
            (``"masked_evaluation": true``, e.g. Abdomen MR<-CT). ``y`` is then the pair of *masks*
            ``(B, 2, D, H, W)``, 0 and 1, instead of the label maps; NaN where the mask has no voxel more than two
            voxels from the border.

    Example:
        >>> from monai.handlers import IgniteMetricHandler, from_engine
        >>> handler = IgniteMetricHandler(
        ...     metric_fn=SDLogJLearn2Reg(masked=True), output_transform=from_engine(["pred", "mask"])
        ... )
    """

    def __init__(self, masked: bool = False) -> None:
        super().__init__()
        self.masked = masked

    def measure(self, ddf: Tensor, label: Tensor | None) -> Tensor:
        """Learn2Reg's SDlogJ ``(B, 1)``."""
        return sdlogj_l2r(ddf, _fixed_mask(label) if self.masked else None).unsqueeze(1)


def _fixed_mask(y: Tensor | None) -> Tensor:
    # label maps have the same shape; taken for masks they would give a wrong number without a word
    if y is None or y.ndim != 5 or y.shape[1] != 2 or bool(y.max() > 1):
        got = None if y is None else f"{tuple(y.shape)} up to {float(y.max()):g}"
        raise ValueError(
            f"SDLogJLearn2Reg(masked=True) 'y' must be a pair of masks (B, 2, D, H, W) of 0 and 1, got {got}; "
            "use PairDataset(use_mask=True) and output_transform=from_engine(['pred', 'mask'])"
        )
    return y[:, 1:]
