"""Stop at the file that is not what registration needs, before its intensities are scaled."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.config.type_definitions import KeysCollection
from monai.transforms.transform import MapTransform
from monai.utils.type_conversion import convert_to_tensor

from ..data.checks import check_image, check_same_grid, integer_label, source_name

__all__ = ["CheckSubjectd"]


class CheckSubjectd(MapTransform):
    """Check images and their label map; pass images on unchanged and the label as integers.

    Put it directly after ``LoadImaged`` (with ``ensure_channel_first``): scaling would turn a constant image
    into NaN and hide the cause. Refused are: more than one channel or volume, an axis of one voxel, NaN and
    infinite voxels, constant images, label values that are no whole numbers or no id below ``num_labels``, a
    label map of another shape.

    Args:
        keys: the images.
        label_key: the label map; skipped where the item has none.
        num_labels: number of ids, background included; None (default) allows any.
        allow_missing_keys: whether an image may be absent.

    Raises:
        DataError: in one line, the file, what it is, and the cure.

    Example:
        >>> import torch
        >>> check = CheckSubjectd(num_labels=3)
        >>> item = {"image": torch.rand(1, 4, 4, 4), "label": torch.full((1, 4, 4, 4), 2.0)}
        >>> check(item)["label"].dtype
        torch.uint8
    """

    def __init__(
        self,
        keys: KeysCollection = "image",
        label_key: str = "label",
        num_labels: int | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.label_key = label_key
        self.num_labels = num_labels

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        label = result.get(self.label_key)
        if label is not None:
            label = convert_to_tensor(label, track_meta=True)
            label_name = source_name(label, self.label_key)
            result[self.label_key] = integer_label(label, label_name, self.num_labels)
        for key in self.key_iterator(result):
            image = convert_to_tensor(result[key], track_meta=True)
            image_name = source_name(image, str(key))
            check_image(image, image_name)
            if label is not None:
                check_same_grid(image, label, image_name, label_name)
        return result
