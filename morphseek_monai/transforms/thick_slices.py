"""Let an image look as if it had been acquired in thick slices."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config.type_definitions import KeysCollection
from monai.transforms.transform import MapTransform, RandomizableTransform
from monai.utils.type_conversion import convert_to_dst_type, convert_to_tensor

__all__ = ["RandThickSlicesd"]


class RandThickSlicesd(RandomizableTransform, MapTransform):
    """Average slabs along a random axis and interpolate back to the grid.

    Most clinical scans are sharp in two directions only. MONAI's ``RandSimulateLowResolutiond`` coarsens all three.

    Args:
        keys: images ``(C, D, H, W)``; label maps stay as they are.
        prob: how often.
        factor: range of the thickness of the slabs in voxels.
        allow_missing_keys: whether a key may be absent.

    Raises:
        ValueError: ``factor`` is out of order or below 1.

    Example:
        >>> image = (torch.arange(8) % 2.0).view(1, 8, 1, 1).expand(1, 8, 8, 8)
        >>> thick = RandThickSlicesd("image", prob=1.0, factor=(2, 2)).set_random_state(1)
        >>> bool((thick({"image": image})["image"] == 0.5).all())
        True
    """

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.2,
        factor: Sequence[float] = (2.0, 5.0),
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        if len(factor) != 2 or not 1 <= factor[0] <= factor[1]:
            raise ValueError(f"RandThickSlicesd() 'factor' must be (low, high), at least 1, got {tuple(factor)}")
        self.factor = (float(factor[0]), float(factor[1]))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        self.randomize(None)
        if not self._do_transform:
            return result
        axis, factor = self.R.randint(3), self.R.uniform(*self.factor)
        for key in self.key_iterator(result):
            image = convert_to_tensor(result[key], track_meta=False).float()[None]
            size = list(image.shape[2:])
            slabs = [max(1, round(n / factor)) if i == axis else n for i, n in enumerate(size)]
            coarse = torch.nn.functional.interpolate(image, size=slabs, mode="area")
            back = torch.nn.functional.interpolate(coarse, size=size, mode="trilinear", align_corners=False)
            result[key] = convert_to_dst_type(back[0], result[key])[0]
        return result
