"""Stop at the file that is not what registration needs, before its intensities are scaled."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.config.type_definitions import KeysCollection
from monai.transforms.transform import MapTransform
from monai.utils.type_conversion import convert_to_tensor

from ..data.pairs.requirements import binary_mask, check_image, check_same_grid, integer_label, source_name

__all__ = ["CheckSubjectd"]


class CheckSubjectd(MapTransform):
    """Check images, their label map and their mask; pass images on unchanged and the others as integers.

    Put it directly after ``LoadImaged`` (with ``ensure_channel_first``): scaling would turn a constant image
    into NaN and hide the cause. Refused are: more than one channel or volume, an axis of one voxel, NaN and
    infinite voxels, constant images, label values that are no whole numbers or no id below ``num_labels``,
    masks that are empty or hold more than one value beside 0, a label map or mask of another shape.

    Args:
        keys: the images.
        label_key: the label map; skipped where the item has none.
        num_labels: number of ids, background included; None (default) allows any.
        allow_missing_keys: whether an image may be absent.
        mask_key: the mask; skipped where the item has none.

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
        mask_key: str = "mask",
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.label_key = label_key
        self.num_labels = num_labels
        self.mask_key = mask_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        if result.get(self.label_key) is not None:
            label = convert_to_tensor(result[self.label_key], track_meta=True)
            name = source_name(label, self.label_key)
            result[self.label_key] = integer_label(label, name, self.num_labels)
        if result.get(self.mask_key) is not None:
            mask = convert_to_tensor(result[self.mask_key], track_meta=True)
            result[self.mask_key] = binary_mask(mask, source_name(mask, self.mask_key))
        for key in self.key_iterator(result):
            image = convert_to_tensor(result[key], track_meta=True)
            image_name = source_name(image, str(key))
            check_image(image, image_name)
            for role, other_key in (("label", self.label_key), ("mask", self.mask_key)):
                other = result.get(other_key)
                if other is not None:
                    check_same_grid(image, other, image_name, source_name(other, other_key), role)
        return result
