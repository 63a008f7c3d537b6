"""Make the ids of a label map contiguous."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config.type_definitions import KeysCollection
from monai.transforms.transform import MapTransform
from monai.utils.type_conversion import convert_to_dst_type, convert_to_tensor

from ..data.pairs.requirements import integer_label, source_name

__all__ = ["SelectLabelsd"]


class SelectLabelsd(MapTransform):
    """Map the listed ids to 1, 2, 3, ... and every other id to 0, the background.

    MONAI's ``MapLabelValued`` keeps ids it has no rule for; here what is not listed is gone, so that
    FreeSurfer's or TotalSegmentator's numbering becomes the contiguous ids ``0..num_labels - 1`` that losses
    and metrics need.

    Args:
        keys: the label maps.
        labels: ids to keep, in their new order; a list of ids makes one structure of them, e.g.
            ``[[2, 41], 17]``.
        allow_missing_keys: whether a label map may be absent.

    Raises:
        ValueError: an id is listed twice, or is the background.
        DataError: a label map does not hold whole numbers.

    Example:
        >>> select = SelectLabelsd("label", labels=[[2, 41], 17])
        >>> select({"label": torch.tensor([[[[0, 2, 41, 17, 99]]]])})["label"].flatten().tolist()
        [0, 1, 1, 2, 0]
    """

    def __init__(
        self, keys: KeysCollection, labels: Sequence[int | Sequence[int]], allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.new_id: dict[int, int] = {}
        for new, group in enumerate(labels, start=1):
            for old in [group] if isinstance(group, int) else group:
                if old in self.new_id or old < 1:
                    raise ValueError(
                        f"SelectLabelsd() 'labels' must be distinct ids above 0, got {old} in {labels}"
                    )
                self.new_id[old] = new

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key in self.key_iterator(result):
            label = convert_to_tensor(result[key], track_meta=True)
            label = integer_label(label, source_name(label, str(key)))
            table = torch.zeros(max(int(label.max()), *self.new_id) + 1, dtype=torch.int16)
            for old, new in self.new_id.items():
                table[old] = new
            result[key] = convert_to_dst_type(table[torch.as_tensor(label).long()], label, dtype=torch.int16)[
                0
            ]
        return result
