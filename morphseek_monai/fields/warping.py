"""Warp images and label maps by a displacement field (compiled by TorchScript: plain typing only)."""

import torch
import torch.nn.functional as F

from .arguments import at_least_float32, check_ddf, check_same_grid
from .axes import voxel_axes


def _check_padding(padding: str, function: str) -> None:
    if padding != "border" and padding != "zeros":
        raise ValueError(f"{function}() 'padding' must be 'border' or 'zeros', got '{padding}'")


def warp(image: torch.Tensor, ddf: torch.Tensor, padding: str = "border") -> torch.Tensor:
    """Warp an image trilinearly: `warped(x) = image(x + ddf(x))`.

    Args:
        image: floating-point image `(B, C, D, H, W)` on the grid of `ddf`; half precision is warped in
            float32.
        ddf: displacement field `(B, 3, D, H, W)`, in voxels. If one of the two batch sizes is 1, that image
            or field is shared, without being copied, by all items of the other.
        padding: what lies outside the image: `"border"` (the nearest border voxel; the default, since anatomy
            cut by the field of view should not darken) or `"zeros"` (the image fades to 0 over one voxel).

    Returns:
        Warped image `(B, C, D, H, W)`, float32, or float64 where `image` or `ddf` is float64.

    Raises:
        TypeError: when `image` or `ddf` is not floating point.
        ValueError: when the shapes do not fit, an axis has a single voxel, or `padding` is unknown.

    Example:
        >>> image = torch.arange(4.0).view(1, 1, 4, 1, 1).expand(1, 1, 4, 2, 2)
        >>> ddf = torch.zeros(1, 3, 4, 2, 2)
        >>> ddf[:, 0] = 1.5  # every voxel looks one and a half voxels further along D
        >>> warp(image, ddf)[0, 0, :, 0, 0]
        tensor([1.5000, 2.5000, 3.0000, 3.0000])
    """
    _check_padding(padding, "warp")
    ddf = check_ddf(ddf, "warp", "ddf")
    check_same_grid(image, ddf, "warp", "image", "ddf")
    if not image.is_floating_point():
        raise TypeError(
            f"warp() 'image' must be floating point, got {image.dtype}; warp_labels() takes labels"
        )
    image = at_least_float32(image)
    if image.dtype != ddf.dtype:
        image, ddf = image.double(), ddf.double()
    if image.shape[0] != ddf.shape[0]:
        batch = image.shape[0] * ddf.shape[0]  # one of the two is 1
        image, ddf = image.expand(batch, -1, -1, -1, -1), ddf.expand(batch, -1, -1, -1, -1)
    axes = voxel_axes(ddf)
    # grid_sample() wants (x, y, z) = (W, H, D), with -1 and 1 at the centres of the first and the last voxel.
    grid = torch.stack(
        (
            (ddf[:, 2] + axes[2]) * (2.0 / (ddf.shape[4] - 1)) - 1.0,
            (ddf[:, 1] + axes[1]) * (2.0 / (ddf.shape[3] - 1)) - 1.0,
            (ddf[:, 0] + axes[0]) * (2.0 / (ddf.shape[2] - 1)) - 1.0,
        ),
        dim=-1,
    )
    return F.grid_sample(image, grid, mode="bilinear", padding_mode=padding, align_corners=True)


def warp_labels(labels: torch.Tensor, ddf: torch.Tensor, padding: str = "zeros") -> torch.Tensor:
    """Warp a label map by nearest neighbour: `warped(x) = labels(floor(x + ddf(x) + 1/2))`.

    Label values are gathered as they are, never converted to floating point, so no label can appear that was
    not there. Beyond the result it needs one index volume, whatever the number of labels or fields.

    Rounding and extent are those of ITK: a voxel owns the half-open box of half a voxel around its centre.
    (`scipy.ndimage.map_coordinates(order=0)` is stricter: for it everything beyond the outermost voxel
    *centres* lies outside.)

    Args:
        labels: label map `(B, C, D, H, W)` of any integer dtype or bool, on the grid of `ddf`.
        ddf: displacement field `(B, 3, D, H, W)`, in voxels. A batch size of 1, here or there, is shared.
        padding: what lies outside the map: `"zeros"` (background; the default, as nothing is known there) or
            `"border"` (the nearest border voxel).

    Returns:
        Warped label map `(B, C, D, H, W)` in the dtype of `labels`.

    Raises:
        TypeError: when `labels` is not integer or bool, or `ddf` is not floating point.
        ValueError: when the shapes do not fit, an axis has a single voxel, or `padding` is unknown.

    Example:
        >>> labels = torch.tensor([0, 7, 7, 2], dtype=torch.uint8).view(1, 1, 4, 1, 1).expand(1, 1, 4, 2, 2)
        >>> ddf = torch.zeros(1, 3, 4, 2, 2)
        >>> ddf[:, 0] = 1.5
        >>> warp_labels(labels, ddf)[0, 0, :, 0, 0]
        tensor([7, 2, 0, 0], dtype=torch.uint8)
    """
    _check_padding(padding, "warp_labels")
    ddf = check_ddf(ddf, "warp_labels", "ddf")
    check_same_grid(labels, ddf, "warp_labels", "labels", "ddf")
    if labels.is_floating_point() or labels.is_complex():
        raise TypeError(
            f"warp_labels() 'labels' must be integer or bool, got {labels.dtype}; warp() takes images"
        )
    axes = voxel_axes(ddf)
    size = ddf.shape[2:]
    batch, channels = max(labels.shape[0], ddf.shape[0]), labels.shape[1]
    warped = torch.empty(
        (batch, channels, size[0] * size[1] * size[2]), dtype=labels.dtype, device=labels.device
    )
    for item in range(batch):  # one index volume at a time, for all channels
        field = ddf[min(item, ddf.shape[0] - 1)]
        source = labels[min(item, labels.shape[0] - 1)].flatten(1)
        index = torch.zeros(size, dtype=torch.int64, device=ddf.device)
        outside = torch.zeros(size, dtype=torch.bool, device=ddf.device)
        for axis in range(3):
            # NaN lies outside; the clamp precedes the conversion, which is undefined beyond the int64 range.
            nearest = torch.floor(field[axis] + axes[axis] + 0.5).nan_to_num(-1.0)
            clamped = nearest.clamp(0, size[axis] - 1)
            if padding == "zeros":
                outside |= nearest != clamped
            index.mul_(size[axis]).add_(clamped.long())
        torch.index_select(source, 1, index.flatten(), out=warped[item])
        if padding == "zeros":
            warped[item].masked_fill_(outside.flatten(), 0)
    return warped.view(batch, channels, size[0], size[1], size[2])
