"""Checks and counts of integer label maps."""

from __future__ import annotations

import torch
from torch import Tensor


def check_labels(labels: Tensor, num_labels: int, function: str, argument: str) -> None:
    """Refuse anything but an integer label map ``(B, 1, D, H, W)`` with values in ``0..num_labels - 1``.

    Args:
        labels: the label map to check.
        num_labels: number of labels with the background.
        function: name of the caller, for the message.
        argument: name of the caller's argument, for the message.

    Raises:
        TypeError: When ``labels`` is not of an integer type.
        ValueError: When the shape is wrong or a value is out of range.
    """
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(f"{function}() '{argument}' must hold integers, got {labels.dtype}; convert it")
    if labels.ndim != 5 or labels.shape[1] != 1 or labels.numel() == 0:
        raise ValueError(f"{function}() '{argument}' must be (B, 1, D, H, W), got {tuple(labels.shape)}")
    low, high = (int(value) for value in torch.aminmax(labels))
    if low < 0 or high >= num_labels:
        raise ValueError(
            f"{function}() '{argument}' must hold labels in 0..{num_labels - 1}, got {low}..{high}; "
            "map them to contiguous ids or raise num_labels"
        )


def label_counts(labels: Tensor, num_labels: int) -> Tensor:
    """Voxels of each label, ``(B, num_labels)`` int64, of checked label maps ``(B, 1, D, H, W)``."""
    return torch.stack([torch.bincount(item.flatten(), minlength=num_labels) for item in labels])
