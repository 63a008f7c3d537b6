"""Voxel size, in programs that keep more than images in the dictionary."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.transforms.spatial.dictionary import Spacingd

__all__ = ["SpacingOfKeysd"]


class SpacingOfKeysd(Spacingd):
    """MONAI's ``Spacingd``, with the same arguments and the same inverse, that leaves all other entries alone.

    ``Spacingd`` of MONAI 1.6 takes every entry whose name begins with the key for its metadata and updates it. MONAI
    Label keeps the path of the image, a text, under ``image_path``; there ``Spacingd`` fails with "'str' object has no
    attribute 'update'".

    Example:
        >>> import torch
        >>> from monai.data import MetaTensor
        >>> image = MetaTensor(torch.rand(1, 4, 4, 4), affine=torch.eye(4))
        >>> data = SpacingOfKeysd("image", pixdim=(2, 2, 1))({"image": image, "image_path": "scan.nii.gz"})
        >>> tuple(data["image"].shape), data["image_path"]
        ((1, 2, 2, 4), 'scan.nii.gz')
    """

    def __call__(self, data: Mapping[Hashable, Any], lazy: bool | None = None) -> dict[Hashable, Any]:
        """Resample what the keys name."""
        named = {key: data[key] for key in self.key_iterator(dict(data))}
        return {**data, **super().__call__(named, lazy)}
