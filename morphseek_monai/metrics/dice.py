"""Dice overlap of label maps from one joint histogram per pair."""

from __future__ import annotations

import torch
from torch import Tensor

from morphseek_monai.metrics.labels import check_labels, label_counts


def hard_dice(fixed: Tensor, warped: Tensor, num_labels: int, moving: Tensor | None = None) -> Tensor:
    """Dice of every foreground label of two label maps.

    All counts of a pair come from one ``bincount`` of ``fixed * num_labels + warped``: no one-hot volume is
    made. Pairs are counted one after the other, so that neither a pair's result nor the working memory
    depends on how many pairs are passed together.

    Args:
        fixed: label maps of the fixed images ``(B or 1, 1, D, H, W)``, integers in ``0..num_labels - 1``,
            0 = background.
        warped: label maps of the warped moving images ``(B, 1, D, H, W)``.
        num_labels: number of labels with the background.
        moving: label maps of the moving images before warping ``(B or 1, 1, d, h, w)``; they say which labels
            the pair has at all. Without them a label needs to be present in ``fixed`` only.

    Returns:
        ``(B, num_labels - 1)`` float32 in [0, 1]; column ``i`` is label ``i + 1``. NaN where the label is
        absent in ``fixed`` or in ``moving`` (Learn2Reg's rule), so that ``nanmean(dim=1)`` is the Dice of the
        pair. A label that both have but that warping lost scores 0.

    Raises:
        TypeError: When a label map is not of an integer type.
        ValueError: When a label lies outside ``0..num_labels - 1`` or the shapes do not fit.

    Example:
        >>> fixed = torch.tensor([0, 1, 1, 2]).view(1, 1, 1, 1, 4)
        >>> warped = torch.tensor([0, 1, 2, 2]).view(1, 1, 1, 1, 4)
        >>> [round(dice, 3) for dice in hard_dice(fixed, warped, num_labels=4)[0].tolist()]
        [0.667, 0.667, nan]
    """
    batch = len(warped)
    for name, labels in (("fixed", fixed), ("warped", warped), ("moving", moving)):
        if labels is not None:
            check_labels(labels, num_labels, "hard_dice", name)
            if len(labels) not in (1, batch):
                raise ValueError(f"hard_dice() '{name}' must have batch 1 or {batch}, got {len(labels)}")
    if fixed.shape[2:] != warped.shape[2:]:
        raise ValueError(
            "hard_dice() 'fixed' and 'warped' must have the same grid, "
            f"got {tuple(fixed.shape[2:])} and {tuple(warped.shape[2:])}; warp onto the fixed grid first"
        )
    pairs = zip(fixed.expand_as(warped), warped, strict=True)
    joint = torch.stack([_joint_histogram(*pair, num_labels) for pair in pairs]).double()
    in_fixed, in_warped = joint.sum(dim=2)[:, 1:], joint.sum(dim=1)[:, 1:]
    overlap = joint.diagonal(dim1=1, dim2=2)[:, 1:]
    present = in_fixed > 0
    if moving is not None:
        present = present & (label_counts(moving, num_labels)[:, 1:] > 0)
    dice = 2 * overlap / (in_fixed + in_warped)
    return dice.masked_fill(~present, torch.nan).float()


def _joint_histogram(fixed: Tensor, warped: Tensor, num_labels: int) -> Tensor:
    codes = fixed.flatten().long() * num_labels + warped.flatten()
    return torch.bincount(codes, minlength=num_labels**2).view(num_labels, num_labels)
