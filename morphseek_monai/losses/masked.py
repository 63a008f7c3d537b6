"""Average a loss over the voxels of a mask."""

from __future__ import annotations

import torch
from torch import Tensor


def masked_mean(values: Tensor, mask: Tensor, function: str) -> Tensor:
    """Mean over the voxels inside the mask, of each item by itself, then over the items.

    An item whose mask is empty contributes 0 and no gradient; a mask of ones gives ``values.mean()``.

    Args:
        values: ``(B, C, D, H, W)``.
        mask: ``(B, 1, D, H, W)``, non-zero inside.
        function: name of the caller, for the message.

    Returns:
        Scalar.

    Raises:
        ValueError: When ``mask`` has another shape.

    Example:
        >>> values = torch.arange(8.0).view(1, 1, 2, 2, 2)
        >>> masked_mean(values, values > 5, "example").item()
        6.5
    """
    shape = (len(values), 1, *values.shape[2:])
    if mask.shape != shape:
        raise ValueError(
            f"{function}() 'mask' must be (B, 1, D, H, W) like the images, here {shape}, got {tuple(mask.shape)}"
        )
    inside = mask != 0
    total = torch.where(inside, values, 0.0).sum(dim=(1, 2, 3, 4))
    count = inside.sum(dim=(1, 2, 3, 4)) * values.shape[1]
    return (total / count.clamp(min=1)).mean()
