"""Augment the two images of a pair independently."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection
from monai.transforms.compose import Compose
from monai.transforms.transform import MapTransform, Randomizable
from monai.utils.type_conversion import convert_to_dst_type, convert_to_tensor

from ..data.pairs.requirements import integer_label

__all__ = ["PerImaged"]


class PerImaged(MapTransform, Randomizable):
    """Apply a dictionary transform of single images to moving and fixed, each with its own draws.

    MONAI's random dictionary transforms draw once per item: given a pair, they would deform, shade or blur both
    images alike, which registration does not notice. Here the transform sees ``(1, D, H, W)`` twice, moving first.

    Args:
        transform: MONAI dictionary transform, or a list of them (``Compose``). It finds nothing but ``keys``, all of
            them float as ``LoadImaged`` reads them; what it adds to the dictionary is dropped.
        keys: what holds moving and fixed; add ``"mask"`` where pairs have masks.
        allow_missing_keys: whether one of ``keys`` may be absent.

    Raises:
        ValueError: a key does not hold two volumes.
        DataError: ids of a label map were interpolated.

    Example:
        >>> from monai.transforms import RandFlipd
        >>> augment = PerImaged(RandFlipd(("image", "label"), prob=0.5, spatial_axis=0)).set_random_state(1)
        >>> ramp = torch.arange(4.0).view(1, 4, 1, 1).expand(2, 4, 4, 4)
        >>> augment({"image": ramp, "label": ramp.byte()})["label"][:, :, 0, 0]  # each by its own coin
        tensor([[3, 2, 1, 0],
                [0, 1, 2, 3]], dtype=torch.uint8)
    """

    def __init__(
        self,
        transform: Callable[[dict[Hashable, Any]], Any] | Sequence[Callable[..., Any]],
        keys: KeysCollection = ("image", "label"),
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.transform = Compose(transform) if isinstance(transform, Sequence) else transform

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> PerImaged:
        """Seed the inner transform.

        Args:
            seed: of its draws.
            state: to draw from instead.
        """
        super().set_random_state(seed, state)
        if isinstance(self.transform, Randomizable):
            self.transform.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        keys = list(self.key_iterator(result))
        for key in keys:
            if result[key].ndim != 4 or result[key].shape[0] != 2:
                raise ValueError(
                    f"PerImaged() '{key}' must hold moving and fixed, (2, D, H, W), got {tuple(result[key].shape)};"
                    " use it in the pair_transform of PairDataset"
                )
        # an integer label map would come back cut to integers even where it was interpolated
        images = [self.transform({key: result[key][i : i + 1].float() for key in keys}) for i in (0, 1)]
        for key in keys:
            before = result[key]
            volumes = [convert_to_tensor(image[key], track_meta=False) for image in images]
            if not before.is_floating_point():
                volumes = [integer_label(volume, f"'{key}' after PerImaged()") for volume in volumes]
            result[key] = convert_to_dst_type(torch.cat(volumes), before, dtype=before.dtype)[0]
        return result
