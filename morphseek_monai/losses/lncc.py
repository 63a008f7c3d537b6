"""Local normalised cross-correlation by running sums."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphseek_monai.losses.masked import masked_mean
from morphseek_monai.networks.box_mean import differentiable_box_mean

# MONAI's ``smooth_dr``: the smallest sum of squared deviations a window is credited with.
_SMALLEST_WINDOW_SUM = 1e-5


class LNCCLoss(nn.Module):
    """Negative mean of the local *squared* normalised cross-correlation over cubic windows.

    The value is that of ``monai.losses.LocalNormalizedCrossCorrelationLoss(spatial_dims=3, kernel_size=k,
    kernel_type="rectangular")``: windows reaching over the edge of the image see zeros there, and a window
    variance below ``1e-5 / kernel_size**3`` is raised to that floor *before* the division. The window means
    are computed by shifted additions (:func:`~morphseek_monai.networks.box_mean.box_mean`) instead of convolutions:
    several times faster on a CPU, and steady on a loaded machine, where single backward passes of MONAI's were seen
    to take 10 to 100 times as long (``docs/benchmarks/lncc_speed.md``).

    The one deliberate difference: MONAI's zeros beyond the edge give two *constant* images a common outline,
    so that they look well registered (about -0.7 on small volumes). Here an image whose whole intensity range
    is so small that no window in it can rise above the variance floor has no structure to correlate: its
    cross-correlation is defined as 0 (the value of unrelated images) with zero gradient. On all other images
    the two losses agree. An image that is constant but for a few voxels is not recognised; inputs should be
    checked before training.

    Half precision inputs are lifted to float32, also under autocast: differences of squares do not survive in
    16 bits.

    Args:
        kernel_size: edge of the cubic window in voxels; odd and at least 3. The default 9 is VoxelMorph's.

    Raises:
        ValueError: When ``kernel_size`` is even or below 3.

    Source: Balakrishnan et al., "VoxelMorph", IEEE TMI 2019, https://arxiv.org/abs/1809.05231, eq. 5.

    Example:
        >>> image = torch.rand(1, 1, 16, 16, 16)
        >>> round(LNCCLoss()(image, image).item(), 3)
        -1.0
    """

    def __init__(self, kernel_size: int = 9) -> None:
        super().__init__()
        if kernel_size < 3 or kernel_size % 2 == 0:
            raise ValueError(f"LNCCLoss() 'kernel_size' must be odd and at least 3, got {kernel_size}")
        self.kernel_size = kernel_size

    def forward(self, pred: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compare two images; the loss is symmetric in them.

        Args:
            pred: warped moving image ``(B, C, D, H, W)``.
            target: fixed image, same shape.
            mask: which windows count, by their centres, ``(B, 1, D, H, W)``, non-zero inside; None (default)
                counts all. A window at the edge of the mask sees what lies beyond it. An item with an empty mask
                contributes 0.

        Returns:
            Scalar in about [-1, 0]; -1 where every window of one image is a linear function of the other.

        Raises:
            ValueError: When the shapes differ or are not five-dimensional.
        """
        if pred.ndim != 5 or pred.shape != target.shape:
            raise ValueError(
                "LNCCLoss() 'pred' and 'target' must both be (B, C, D, H, W), "
                f"got {tuple(pred.shape)} and {tuple(target.shape)}"
            )
        dtype = torch.promote_types(torch.promote_types(pred.dtype, target.dtype), torch.float32)
        pred, target = pred.to(dtype), target.to(dtype)
        floor = _SMALLEST_WINDOW_SUM / self.kernel_size**3

        # Two calls: a fixed image without gradient then stays out of the backward pass.
        pred_mean, pred_square, product = self._window_means(pred, pred * pred, pred * target)
        target_mean, target_square = self._window_means(target, target * target)
        covariance = product - pred_mean * target_mean
        pred_variance = (pred_square - pred_mean * pred_mean).clamp(min=floor)
        target_variance = (target_square - target_mean * target_mean).clamp(min=floor)
        squared_ncc = covariance * covariance / (pred_variance * target_variance)

        structured = _has_structure(pred, floor) & _has_structure(target, floor)
        if mask is None:
            return -torch.where(structured, squared_ncc.mean(dim=(2, 3, 4)), 0.0).mean()
        squared_ncc = torch.where(structured[..., None, None, None], squared_ncc, 0.0)
        return -masked_mean(squared_ncc, mask, type(self).__name__)

    def _window_means(self, *maps: Tensor) -> tuple[Tensor, ...]:
        padded = F.pad(torch.cat(maps, dim=1), [self.kernel_size // 2] * 6)
        return differentiable_box_mean(padded, self.kernel_size).chunk(len(maps), dim=1)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}"


def _has_structure(image: Tensor, floor: float) -> Tensor:
    # Popoviciu: the variance of values within an interval is at most a quarter of its squared length.
    image = image.detach()
    half_range = (image.amax(dim=(2, 3, 4)) - image.amin(dim=(2, 3, 4))) / 2
    return half_range * half_range > floor
