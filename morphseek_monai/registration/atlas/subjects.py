"""The subjects of an atlas, and what brings any head to its grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from monai.transforms.compose import Compose
from monai.transforms.croppad.dictionary import CropForegroundd, ResizeWithPadOrCropd
from monai.transforms.io.dictionary import LoadImaged
from monai.transforms.spatial.dictionary import Orientationd, Spacingd
from monai.transforms.utility.dictionary import Lambdad
from torch import Tensor

__all__ = ["atlas_preprocessing", "brighter_than_mean"]


def brighter_than_mean(image: Tensor) -> Tensor:
    """Foreground of an image whose background is dark, whatever its intensities and noise."""
    return image > image.mean()


def atlas_preprocessing(
    spacing: Sequence[float], size: Sequence[int], orientation: str, intensity: Callable[[Any], Any]
) -> Any:
    """Bring a head of any size, place and orientation to the grid of an atlas, with its label.

    Axes, voxel size, box around the foreground, then intensity: the transforms are MONAI's, and bundles of atlas
    segmentation write the same ones in their ``inference.json``. The box only has to hold the head:
    :class:`~morphseek_monai.networks.AffineFirst` finds its place in it.

    Args:
        spacing: voxel sizes in mm.
        size: voxels along each axis; what lies beyond is cut, what is missing is 0.
        orientation: axes of the grid, e.g. ``"RAS"``.
        intensity: transform of the image on that grid to [0, 1].

    Returns:
        a transform of ``{"image": path, "label": path}``.
    """
    keys = ("image", "label")
    return Compose(
        [
            LoadImaged(keys, ensure_channel_first=True),
            Orientationd(keys, axcodes=orientation, labels=None),
            Spacingd(keys, pixdim=tuple(spacing), diagonal=True, mode=("bilinear", "nearest"), padding_mode="zeros"),
            CropForegroundd(keys, source_key="image", select_fn=brighter_than_mean, allow_smaller=True),
            ResizeWithPadOrCropd(keys, spatial_size=tuple(size)),
            Lambdad("image", intensity),
        ]
    )
