"""Prepare the intensities of each modality in its own way."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

from monai.config.type_definitions import KeysCollection
from monai.transforms.transform import MapTransform

from ..base.errors import DataError
from ..data.pairs.requirements import source_name

__all__ = ["ByModalityd"]


class ByModalityd(MapTransform):
    """Apply the array transform of the subject's modality, e.g. percentiles to MR and a window to CT.

    MR intensities have no unit and are scaled by what the image holds; CT is measured in Hounsfield units,
    where a fixed window makes the same tissue look the same in every scan.
    :class:`~morphseek_monai.data.PairDataset` puts ``modality`` into the dictionary, from the subject or from
    its Learn2Reg name ``TASK_XXXX_MMMM``.

    Args:
        keys: the images.
        transforms: array transform of each modality, e.g. ``{"0000": ScaleIntensityRangePercentiles(...),
            "0001": ScaleIntensityRange(...)}``.
        modality_key: where the modality (str) stands.
        allow_missing_keys: whether an image may be absent.

    Raises:
        DataError: the subject has no modality, or one without a transform.

    Example:
        >>> import torch
        >>> from monai.transforms import ScaleIntensity, ScaleIntensityRange
        >>> window = ScaleIntensityRange(a_min=-1000, a_max=1000, b_min=0, b_max=1, clip=True)
        >>> prepare = ByModalityd("image", {"0000": ScaleIntensity(), "0001": window})
        >>> prepare({"image": torch.tensor([[-1000.0, 0.0]]), "modality": "0001"})["image"].tolist()
        [[0.0, 0.5]]
        >>> prepare({"image": torch.tensor([[-1000.0, 0.0]]), "modality": "0000"})["image"].tolist()
        [[0.0, 1.0]]
    """

    def __init__(
        self,
        keys: KeysCollection,
        transforms: Mapping[str, Callable[[Any], Any]],
        modality_key: str = "modality",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.transforms = dict(transforms)
        self.modality_key = modality_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        modality = result.get(self.modality_key)
        for key in self.key_iterator(result):
            if modality not in self.transforms:
                found = "has no modality" if modality is None else f"has modality {modality!r}"
                raise DataError(
                    f"image {source_name(result[key], str(key))} {found}, ByModalityd() needs one of"
                    f" {', '.join(self.transforms)}; name it TASK_XXXX_MMMM or give the subject a 'modality'"
                )
            result[key] = self.transforms[modality](result[key])
        return result
