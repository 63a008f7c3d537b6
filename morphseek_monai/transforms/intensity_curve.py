"""Give a real image another contrast by a random curve from intensity to intensity."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms.transform import RandomizableTransform
from monai.utils.type_conversion import convert_to_dst_type, convert_to_tensor
from torch import Tensor

__all__ = ["RandIntensityCurved"]


class RandIntensityCurved(RandomizableTransform):
    """Map the intensities of a pair through random piecewise linear curves that need not be monotone.

    It needs no labels, so it also serves images of which little is labelled. MONAI's ``RandHistogramShiftd`` keeps the
    order of intensities; between modalities (T1 and T2, CT and MR) the order changes.

    Args:
        keys: one key or several, images ``(N, D, H, W)`` in 0..1.
        prob: how often.
        shared: share of the draws in which all N images take one curve; else each has its own.
        points: range of the number of points of a curve; 2 is a straight line, rising or falling.
        keep_zero: share of the curves that leave 0 at 0, as the empty space around a body stays black.

    Raises:
        ValueError: ``points`` is out of order or below 2.

    Example:
        >>> image = torch.linspace(0, 1, 5).view(1, 5, 1, 1)
        >>> fall = RandIntensityCurved(prob=1.0, points=(2, 2), keep_zero=0.0).set_random_state(0)
        >>> fall({"image": image})["image"].flatten()
        tensor([1.0000, 0.7500, 0.5000, 0.2500, 0.0000])
    """

    def __init__(
        self,
        keys: str | Sequence[str] = "image",
        prob: float = 0.5,
        shared: float = 0.5,
        points: Sequence[int] = (2, 6),
        keep_zero: float = 0.5,
    ) -> None:
        super().__init__(prob)
        if len(points) != 2 or not 2 <= points[0] <= points[1]:
            raise ValueError(f"RandIntensityCurved() 'points' must be (low, high), at least 2, got {tuple(points)}")
        self.keys = (keys,) if isinstance(keys, str) else tuple(keys)
        self.shared = shared
        self.points = (int(points[0]), int(points[1]))
        self.keep_zero = keep_zero

    def randomize(self, data: int) -> None:
        """Draw the curves.

        Args:
            data: number of images.
        """
        super().randomize(None)
        if self._do_transform:
            one = self.R.uniform() < self.shared
            self._curves = [self._curve()] * data if one else [self._curve() for _ in range(data)]

    def _curve(self) -> Tensor:
        values = self.R.uniform(size=self.R.randint(self.points[0], self.points[1] + 1))
        if self.R.uniform() < self.keep_zero:
            values[0] = 0.0
        # the whole range is used: a curve of nearly one value would leave an empty image
        return torch.from_numpy((values - values.min()) / np.ptp(values).clip(1e-6)).float()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.keys:
            images = convert_to_tensor(result[key], track_meta=False)
            self.randomize(len(images))
            if self._do_transform:
                mapped = torch.stack([_look_up(image, curve) for image, curve in zip(images, self._curves)])
                result[key] = convert_to_dst_type(mapped, result[key])[0]
        return result


def _look_up(image: Tensor, curve: Tensor) -> Tensor:
    place = image.clamp(0.0, 1.0) * (len(curve) - 1)
    lower = place.floor().clamp_(max=len(curve) - 2)
    index = lower.flatten().int()
    low, high = (curve.index_select(0, index + i).view(image.shape) for i in (0, 1))
    return torch.lerp(low, high, place - lower)
