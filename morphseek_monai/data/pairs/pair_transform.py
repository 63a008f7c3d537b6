"""What every data set of pairs does with a ``pair_transform``: compose it, and draw it anew for each item."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from monai.data.meta_tensor import MetaTensor
from monai.transforms.compose import Compose
from monai.transforms.transform import Randomizable

__all__ = ["PairTransform", "composed", "transform_pair"]

PairTransform = Callable[[dict[str, Any]], Any]


def composed(transform: PairTransform | Sequence[Callable[..., Any]] | None) -> PairTransform | None:
    """One transform of several in a row; one transform, or None, as it is."""
    return Compose(transform) if isinstance(transform, Sequence) else transform


def transform_pair(
    transform: PairTransform | None, item: dict[str, Any], draw: np.random.SeedSequence
) -> dict[str, Any]:
    """Transform one item.

    Args:
        transform: what :func:`composed` returned; None leaves the item as it is.
        item: of the data set.
        draw: what the random state follows from, where the transform has one.
    """
    if transform is None:
        return item
    if isinstance(transform, Randomizable):
        transform.set_random_state(seed=int(draw.generate_state(1)[0]))
    transformed: dict[str, Any] = transform(item)
    # some of MONAI's transforms return MetaTensors, and only where they draw to act: such items do not collate
    return {key: v.as_tensor() if isinstance(v, MetaTensor) else v for key, v in transformed.items()}
