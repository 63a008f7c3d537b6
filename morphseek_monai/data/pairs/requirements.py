"""What a loaded image, label map or mask must fulfil; each check raises one line that names the file."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from morphseek_monai.base.errors import DataError

__all__ = ["binary_mask", "check_image", "check_same_grid", "integer_label", "source_name"]


def source_name(value: Any, default: str) -> str:
    """Name the file that a loaded array came from.

    Args:
        value: a MetaTensor from ``LoadImaged``, or anything else.
        default: what to say where no file is known.
    """
    name = getattr(value, "meta", {}).get("filename_or_obj")
    return str(name) if name else default


def check_image(image: Tensor, name: str) -> None:
    """Check one image: one channel, three axes of at least two voxels, finite, not constant.

    A constant image is refused because similarity losses do not: LNCC of two constant images looks well
    registered and MIND of one is NaN.

    Args:
        image: ``(1, D, H, W)``.
        name: the file, for the message.

    Raises:
        DataError: with the file, the finding and the cure.
    """
    if image.ndim != 4 or image.shape[0] != 1:
        raise DataError(
            f"image {name} must be one 3-D volume (1, D, H, W), got {tuple(image.shape)};"
            " take one volume or channel and load with ensure_channel_first"
        )
    if min(image.shape[1:]) < 2:
        raise DataError(
            f"image {name} must have at least 2 voxels along each axis, got {tuple(image.shape[1:])}"
        )
    bad = int((~torch.isfinite(image)).sum())
    if bad:
        raise DataError(
            f"image {name} has {bad} NaN or infinite voxels; replace them by the background value"
        )
    if bool(image.amin() == image.amax()):
        raise DataError(f"image {name} is constant ({float(image.amin()):g} everywhere); leave the file out")


def integer_label(label: Tensor, name: str, num_labels: int | None = None) -> Tensor:
    """Check one label map and return it in the smallest of uint8, int16, int32 that holds its values.

    Args:
        label: ``(1, D, H, W)`` of any dtype; floats must hold whole numbers (``LoadImaged`` reads float32).
        name: the file, for the message.
        num_labels: number of ids including the background: ids must be below it. None (default) allows any.

    Returns:
        ``(1, D, H, W)`` integer tensor of the same values.

    Raises:
        DataError: with the file, the finding and the cure.

    Example:
        >>> integer_label(torch.tensor([[[[0.0, 2.0]]]]), "seg.nii.gz").dtype
        torch.uint8
        >>> integer_label(torch.tensor([[[[0.0, 2.5]]]]), "seg.nii.gz")
        Traceback (most recent call last):
        ...
        morphseek_monai.base.errors.DataError: label seg.nii.gz must hold whole numbers, got 2.5; ...
    """
    if label.ndim != 4 or label.shape[0] != 1:
        raise DataError(
            f"label {name} must be one 3-D volume of ids (1, D, H, W), got {tuple(label.shape)};"
            " turn one-hot channels into ids and load with ensure_channel_first"
        )
    if label.is_floating_point():
        fractional = label != label.round()  # NaN differs from itself
        if bool(fractional.any()):
            raise DataError(
                f"label {name} must hold whole numbers, got {float(label[fractional][0]):g};"
                " resample label maps with nearest-neighbour interpolation"
            )
    low, high = float(label.amin()), float(label.amax())
    limit = float("inf") if num_labels is None else num_labels
    if low < 0 or high >= limit:
        raise DataError(
            f"label {name} has id {low if low < 0 else high:g} outside 0..{limit - 1:g};"
            " map its ids with SelectLabelsd or correct num_labels"
        )
    for dtype in (torch.uint8, torch.int16, torch.int32):
        if high <= torch.iinfo(dtype).max:
            return label.to(dtype)
    raise DataError(
        f"label {name} has id {high:g}, too large for a label map; map its ids with SelectLabelsd"
    )


def binary_mask(mask: Tensor, name: str) -> Tensor:
    """Check one mask and return it as 0 and 1 in uint8.

    0/255 masks are as good as 0/1 masks; several values are a label map or an interpolated mask, which nobody
    should have to guess a threshold for.

    Args:
        mask: ``(1, D, H, W)`` of any dtype: 0 outside, one positive value inside.
        name: the file, for the message.

    Returns:
        ``(1, D, H, W)`` uint8.

    Raises:
        DataError: with the file, the finding and the cure.

    Example:
        >>> binary_mask(torch.tensor([[[[0.0, 255.0]]]]), "mask.nii.gz")
        tensor([[[[0, 1]]]], dtype=torch.uint8)
    """
    if mask.ndim != 4 or mask.shape[0] != 1:
        raise DataError(
            f"mask {name} must be one 3-D volume (1, D, H, W), got {tuple(mask.shape)};"
            " take one volume or channel and load with ensure_channel_first"
        )
    inside = mask != 0
    values = mask[inside].float()
    if values.numel() == 0:
        raise DataError(f"mask {name} is empty (0 everywhere); draw it or leave it out of the data list")
    low, high = float(values.min()), float(values.max())
    if not 0 < low == high:  # NaN equals nothing
        raise DataError(
            f"mask {name} must hold 0 and one positive value, got {low:g} to {high:g} inside;"
            " resample masks with nearest-neighbour interpolation, make one mask of a label map"
        )
    return inside.to(torch.uint8)


def check_same_grid(
    image: Tensor, other: Tensor, image_name: str, other_name: str, role: str = "label"
) -> None:
    """Check that a label map or a mask lies on its image's voxels.

    Args:
        image: ``(C, D, H, W)``.
        other: ``(C, D, H, W)``.
        image_name: the image's file.
        other_name: the label map's or the mask's file.
        role: ``"label"`` (default) or ``"mask"``; the message starts with it.

    Raises:
        DataError: the spatial shapes differ.
    """
    if image.shape[1:] != other.shape[1:]:
        raise DataError(
            f"{role} {other_name} has shape {tuple(other.shape[1:])} but image {image_name} has"
            f" {tuple(image.shape[1:])}; resample the {role} to the image (nearest neighbour)"
        )
