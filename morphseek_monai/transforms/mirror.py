"""Mirror the anatomy of a pair left to right."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection
from monai.transforms.transform import MapTransform, RandomizableTransform
from torch import Tensor

from .label_pairs import check_label_pairs

__all__ = ["RandMirrord"]


class RandMirrord(RandomizableTransform, MapTransform):
    """Flip both images of a pair along the patient's left-right axis and exchange left and right labels.

    A mirrored brain is a plausible other brain, so this doubles the anatomies. The axis is the voxel axis that runs
    closest to left-right by the item's ``affine``. The affine itself stays: what was on the left lies on the right
    of the same grid afterwards, and bears the name of what lies there.

    Without ``label_pairs`` (None or empty) nothing is mirrored: nobody can tell whether the labels have sides, and
    a left label on the right side would teach the wrong anatomy. Where the labels truly have no sides, MONAI's
    ``RandFlipd`` is all that is needed. Organs of the trunk come in left-right pairs too, but a mirrored trunk has
    its liver on the left: mirror brains, not bodies.

    Args:
        keys: what is flipped; add ``"mask"`` where pairs have masks.
        label_pairs: ids ``[(left, right), ...]``, e.g. of :func:`~morphseek_monai.data.label_pairs`.
        label_key: the label maps ``(C, D, H, W)`` whose ids are exchanged.
        prob: how often; the default makes both sides equally frequent.
        axis: spatial axis (0, 1, 2) that is left-right, for items without ``affine``.
        allow_missing_keys: whether one of ``keys`` may be absent.

    Raises:
        ValueError: ``label_pairs`` are no pairs of distinct ids, ``axis`` is none of 0, 1, 2, or an item has no
            affine and ``axis`` is None.

    Example:
        >>> mirror = RandMirrord(label_pairs=[(1, 2)], prob=1.0, axis=0)
        >>> label = torch.tensor([0, 1, 1, 3, 2]).view(1, 5, 1, 1)
        >>> mirror({"image": label.float(), "label": label})["label"].flatten().tolist()
        [1, 3, 2, 2, 0]
    """

    def __init__(
        self,
        keys: KeysCollection = ("image", "label"),
        label_pairs: Sequence[Sequence[int]] | None = None,
        label_key: str = "label",
        prob: float = 0.5,
        axis: int | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        RandomizableTransform.__init__(self, prob)
        MapTransform.__init__(self, keys, allow_missing_keys)
        if axis not in (None, 0, 1, 2):
            raise ValueError(f"RandMirrord() 'axis' must be 0, 1, 2 or None, got {axis}")
        self.label_pairs = check_label_pairs(label_pairs, "RandMirrord")
        self.label_key = label_key
        self.axis = axis

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        self.randomize(None)
        if not self._do_transform or not self.label_pairs:
            return result
        axis = self._left_right_axis(result)
        for key in self.key_iterator(result):
            result[key] = torch.flip(result[key], [axis + 1])
            if key == self.label_key:
                result[key] = self._exchange(result[key])
        return result

    def _left_right_axis(self, item: Mapping[Hashable, Any]) -> int:
        if item.get("affine") is not None:
            directions = np.asarray(item["affine"], dtype=np.float64)[:3, :3]  # of the voxel axes, in columns
            return int(np.argmax(np.abs(directions[0]) / np.linalg.norm(directions, axis=0)))
        if self.axis is None:
            raise ValueError(
                "RandMirrord() 'axis' must be the left-right axis where items have no 'affine', got None;"
                " give 0, 1 or 2, or load the images with LoadImaged"
            )
        return self.axis

    def _exchange(self, label: Tensor) -> Tensor:
        partner = torch.arange(max(int(label.max()), *(max(pair) for pair in self.label_pairs)) + 1)
        for left, right in self.label_pairs:
            partner[left], partner[right] = right, left
        return partner[label.long()].to(label.dtype)
