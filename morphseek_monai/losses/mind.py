"""MIND-SSC: modality independent neighbourhood descriptors with self-similarity context."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphseek_monai.losses.masked import masked_mean
from morphseek_monai.networks.box_mean import differentiable_box_mean
from morphseek_monai.networks.mind import describe_differences, neighbour_differences


class MINDSSCLoss(nn.Module):
    """Mean squared difference of the 12-channel MIND-SSC descriptors of two images.

    The descriptor of a voxel holds, for each of 12 pairs of its six neighbours (at distance ``dilation``),
    the mean squared difference ``ssd`` of the patches around them; with ``m = ssd - min(ssd)`` over the pairs
    and ``v = mean(m)`` over the pairs, it is ``exp(-m / v)``. It describes local shape, not intensity, so
    that images of different modalities (CT and MR) can be compared. ``v`` is kept within 1/1000 and 1000
    times its mean over the volume; the bounds carry no gradient. Differences from published code, which this
    follows otherwise:

    - the bounds use the mean of each batch item by itself, so that a pair's loss does not depend on its
      neighbours in the batch;
    - ``v`` is never below 1e-10 (the square of one step of a 16 bit image scaled to [0, 1]): a constant image
      has the descriptor 1 everywhere and zero gradient, where others get 0 / 0. Two constant images therefore
      have loss 0, as with a mean squared error; constant inputs should be refused before training.

    Patches and neighbours that reach over the edge use the nearest voxel of the image. Only shifts and
    additions are used, so autocast cannot lower the precision; half precision inputs are lifted to
    float32.

    Args:
        radius: half edge of the cubic patches in voxels (edge ``2 * radius + 1``).
        dilation: distance of the six neighbours in voxels.

    Raises:
        ValueError: When ``radius`` or ``dilation`` is below 1.

    Source: Heinrich et al., "Towards realtime multimodal fusion for image-guided interventions using
    self-similarities", MICCAI 2013.

    Example:
        >>> image = torch.rand(1, 1, 12, 12, 12)
        >>> MINDSSCLoss()(image, 1.0 - image).item() < 1e-6  # blind to an inverted contrast
        True
    """

    def __init__(self, radius: int = 2, dilation: int = 2) -> None:
        super().__init__()
        for name, value in (("radius", radius), ("dilation", dilation)):
            if value < 1:
                raise ValueError(f"MINDSSCLoss() '{name}' must be at least 1, got {value}")
        self.radius = radius
        self.dilation = dilation

    def forward(self, pred: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compare two images; the loss is symmetric in them.

        Args:
            pred: warped moving image ``(B, 1, D, H, W)``.
            target: fixed image, same shape.
            mask: where descriptors are compared, ``(B, 1, D, H, W)``, non-zero inside; None (default) compares
                them everywhere. The descriptors themselves are those of the whole images: a patch at the edge of
                the mask sees what lies beyond it. An item with an empty mask contributes 0.

        Returns:
            Scalar in [0, 1].

        Raises:
            ValueError: When the shapes differ or are not those of single-channel volumes.
        """
        if pred.ndim != 5 or pred.shape[1] != 1 or pred.shape != target.shape:
            raise ValueError(
                "MINDSSCLoss() 'pred' and 'target' must both be (B, 1, D, H, W), "
                f"got {tuple(pred.shape)} and {tuple(target.shape)}"
            )
        pred, target = self.describe(pred), self.describe(target)
        if mask is None:
            return F.mse_loss(pred, target)
        error = F.mse_loss(pred, target, reduction="none").mean(dim=1, keepdim=True)
        return masked_mean(error, mask, type(self).__name__)

    def describe(self, image: Tensor) -> Tensor:
        """Descriptors ``(B, 12, D, H, W)`` in (0, 1] of single-channel images ``(B, 1, D, H, W)``."""
        image = image.to(torch.promote_types(image.dtype, torch.float32))
        differences = F.pad(neighbour_differences(image, self.dilation), [self.radius] * 6, mode="replicate")
        return describe_differences(differentiable_box_mean(differences, 2 * self.radius + 1))

    def extra_repr(self) -> str:
        return f"radius={self.radius}, dilation={self.dilation}"
