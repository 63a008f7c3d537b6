"""Several transforms as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from morphseek_monai.base.lazy import lazy_module
from morphseek_monai.space.grid import Grid

from .transform import make_transform, members, to_ddf

itk = lazy_module("itk")

__all__ = ["compose_transforms"]


def compose_transforms(transforms: Sequence[Any], grid: Grid | None = None) -> Any:
    """Chain transforms: the **first of the list acts first** on a point.

    For ``[A, B]`` the result is ``C(x) = B(A(x))``: where ``A`` maps points of one image to points of a second, and
    ``B`` points of the second to points of a third, ``C`` maps points of the first to points of the third. Resampling
    the third image with ``C`` brings it to the first in one interpolation. ITK writes this queue the other way round:
    of its composites, the transform added last acts first.

    Args:
        transforms: ITK transforms, composites among them, which are taken apart.
        grid: of the first image; the result is then one displacement field on it, zero beyond.

    Returns:
        ``itk.CompositeTransform[itk.D, 3]``, without composites in it.

    Raises:
        ValueError: an empty list.
    """
    if not transforms:
        raise ValueError("compose_transforms() 'transforms' must hold at least one transform, got none")
    composite = itk.CompositeTransform[itk.D, 3].New()
    for transform in reversed(transforms):
        for member in members(transform):
            composite.AddTransform(member)
    if grid is None:
        return composite
    *_, field = members(make_transform(np.eye(4), to_ddf(composite, grid), grid))
    collapsed = itk.CompositeTransform[itk.D, 3].New()
    collapsed.AddTransform(field)
    return collapsed
