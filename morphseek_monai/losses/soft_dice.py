"""Differentiable Dice of warped label maps whose cost does not depend on the number of labels."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from morphseek_monai.fields.arguments import check_ddf, check_same_grid
from morphseek_monai.fields.axes import voxel_axes
from morphseek_monai.metrics.labels import check_labels, label_counts


class SoftDiceLoss(nn.Module):
    """One minus the mean soft Dice between the fixed and the linearly warped moving labels.

    The soft label of a voxel is the vector of trilinear weights with which its eight corners in the moving
    image carry each label. The value equals warping a one-hot volume with ``warp(..., padding="zeros")`` and
    taking the soft Dice ``2 * sum(f * w) / (sum(f) + sum(w))`` per label, but the one-hot volume is never
    made: the overlap needs the weights of those corners only that carry the fixed label, and the warped mass
    of all labels is one weighted count per corner. Whatever the number of labels, time is eight visits per
    voxel and memory a few volumes; nothing but the inputs is kept for the backward pass.

    A label absent in the fixed or in the (unwarped) moving map of an item does not count for that item
    (Learn2Reg's rule), nor does the background. An item without any common label contributes 0 and no
    gradient. Beyond the edge of the moving image there is background.

    Args:
        num_labels: number of labels with the background.

    Raises:
        ValueError: When ``num_labels`` is below 2.

    Example:
        >>> label = torch.zeros(1, 1, 6, 6, 6, dtype=torch.uint8)
        >>> label[..., 2:4, 2:4, 2:4] = 1
        >>> ddf = torch.zeros(1, 3, 6, 6, 6)
        >>> SoftDiceLoss(num_labels=2)(ddf, label, label).item()
        0.0
        >>> ddf[:, 2] = 0.5  # half of one of the two columns of voxels leaves its place
        >>> SoftDiceLoss(num_labels=2)(ddf, label, label).item()
        0.25
    """

    def __init__(self, num_labels: int) -> None:
        super().__init__()
        if num_labels < 2:
            raise ValueError(f"SoftDiceLoss() 'num_labels' must be at least 2, got {num_labels}")
        self.num_labels = num_labels

    def forward(self, ddf: Tensor, moving_label: Tensor, fixed_label: Tensor) -> Tensor:
        """Compare the labels of a pair under a displacement field.

        Args:
            ddf: displacement field ``(B, 3, D, H, W)`` in voxels; gets the gradient.
            moving_label: integers ``(B or 1, 1, D, H, W)`` in ``0..num_labels - 1``, 0 = background.
            fixed_label: integers, same form.

        Returns:
            Scalar in [0, 1], the mean over the items.

        Raises:
            TypeError: When a label map is not of an integer type or ``ddf`` not of a floating one.
            ValueError: When a label is out of range or the shapes do not fit.
        """
        ddf = check_ddf(ddf, "SoftDiceLoss", "ddf")
        for name, label in (("moving_label", moving_label), ("fixed_label", fixed_label)):
            check_same_grid(label, ddf, "SoftDiceLoss", name, "ddf")
            check_labels(label, self.num_labels, "SoftDiceLoss", name)
        in_fixed = label_counts(fixed_label, self.num_labels)[:, 1:]
        in_moving = label_counts(moving_label, self.num_labels)[:, 1:]
        present = ((in_fixed > 0) & (in_moving > 0)).expand(len(ddf), -1)

        overlap, mass = _LabelSums.apply(  # type: ignore[no-untyped-call]
            ddf, moving_label, fixed_label, self.num_labels
        )
        # Count and mass of an absent label may both be 0: the clamp keeps its unused quotient finite.
        dice: Tensor = 2 * overlap[:, 1:] / (in_fixed + mass[:, 1:]).clamp(min=1)
        num_present = present.sum(dim=1)
        loss: Tensor = 1 - (dice * present).sum(dim=1) / num_present.clamp(min=1)
        return (loss * (num_present > 0)).mean()

    def extra_repr(self) -> str:
        return f"num_labels={self.num_labels}"


_Corner = tuple[int, ...]
_CornerValues = Callable[[_Corner], Tensor]


class _LabelSums(torch.autograd.Function):
    """Trilinear weight per label: ``overlap`` where it agrees with the fixed label, and the whole ``mass``.

    Both are ``(B, num_labels)``. ``backward`` visits the corners again instead of storing eight volumes of
    weights.
    """

    @staticmethod
    def forward(
        ctx: Any, ddf: Tensor, moving: Tensor, fixed: Tensor, num_labels: int
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(ddf, moving, fixed)
        cells = _Cells(ddf, moving)
        fixed = fixed[:, 0].expand_as(ddf[:, 0])
        agreement = torch.zeros_like(ddf[:, 0])
        mass = ddf.new_zeros(len(ddf), num_labels)
        for corner in product((0, 1), repeat=3):
            label, weight = cells.label(corner), cells.weight(corner)
            mass += _sum_by_label(label, weight, num_labels)
            agreement += weight * (label == fixed)
        return _sum_by_label(fixed, agreement, num_labels), mass

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, overlap_grad: Tensor, mass_grad: Tensor) -> tuple[Tensor, None, None, None]:
        ddf, moving, fixed = ctx.saved_tensors
        cells = _Cells(ddf, moving)
        fixed = fixed[:, 0].expand_as(ddf[:, 0])
        agreement_grad = _look_up(overlap_grad, fixed)

        def weight_grad(corner: _Corner) -> Tensor:
            label = cells.label(corner)
            grad: Tensor = _look_up(mass_grad, label) + agreement_grad * (label == fixed)
            return grad

        return cells.slopes(weight_grad), None, None, None


class _Cells:
    """The cells of eight moving voxels around the sampled positions.

    Positions are clamped to one voxel beyond the image and the labels padded with background, so that every
    corner exists and everything outside is background.
    """

    def __init__(self, ddf: Tensor, moving: Tensor) -> None:
        size = ddf.shape[2:]
        self._padded = F.pad(moving[:, 0], (1, 2) * 3).flatten(1).expand(len(ddf), -1)
        self._strides = ((size[1] + 3) * (size[2] + 3), size[2] + 3, 1)
        self._base = torch.zeros_like(ddf[:, 0], dtype=torch.int64)
        self._fractions: list[Tensor] = []
        self._follows: list[Tensor] = []
        for axis, grid in enumerate(voxel_axes(ddf)):
            position = ddf[:, axis] + grid
            clamped = position.clamp(-1, size[axis])
            lower = clamped.floor()
            self._fractions.append(clamped - lower)
            self._follows.append(position == clamped)
            # A NaN must reach the loss through the weights, not crash the device through the index.
            self._base += (lower.nan_to_num(nan=-1.0).long() + 1) * self._strides[axis]

    def label(self, corner: _Corner) -> Tensor:
        """Moving label ``(B, D, H, W)`` at the lower (0) or upper (1) corner along each axis."""
        offset = sum(step * stride for step, stride in zip(corner, self._strides, strict=True))
        return self._padded.gather(1, (self._base + offset).flatten(1)).view_as(self._base)

    def weight(self, corner: _Corner) -> Tensor:
        """Trilinear weight ``(B, D, H, W)`` of a corner."""
        along = [f if upper else 1 - f for f, upper in zip(self._fractions, corner, strict=True)]
        weight: Tensor = along[0] * along[1] * along[2]
        return weight

    def slopes(self, value: _CornerValues) -> Tensor:
        """Derivative ``(B, 3, D, H, W)``, by the displacement, of corner values interpolated trilinearly."""
        _, slopes = self._interpolate(value, ())
        return torch.stack([s * follows for s, follows in zip(slopes, self._follows, strict=True)], dim=1)

    def _interpolate(self, value: _CornerValues, corner: _Corner) -> tuple[Tensor, list[Tensor]]:
        # Interpolates along the axes that `corner` leaves open; the slopes are those along the same axes.
        if len(corner) == 3:
            return value(corner), []
        low, low_slopes = self._interpolate(value, (*corner, 0))
        high, high_slopes = self._interpolate(value, (*corner, 1))
        fraction = self._fractions[len(corner)]
        across = [torch.lerp(a, b, fraction) for a, b in zip(low_slopes, high_slopes, strict=True)]
        return torch.lerp(low, high, fraction), [high - low, *across]


def _sum_by_label(label: Tensor, weight: Tensor, num_labels: int) -> Tensor:
    # Slice by slice: rows run in parallel, and float32 sums stay short enough not to lose small weights.
    slices = weight.shape[0] * weight.shape[1]
    sums = weight.new_zeros(slices, num_labels)
    sums.scatter_add_(1, label.reshape(slices, -1).long(), weight.reshape(slices, -1))
    return sums.view(weight.shape[0], weight.shape[1], num_labels).sum(dim=1)


def _look_up(table: Tensor, label: Tensor) -> Tensor:
    return table.gather(1, label.flatten(1).long()).view_as(label)
