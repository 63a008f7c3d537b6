"""Transforms of ITK applied by SimpleITK."""

from __future__ import annotations

from typing import Any

import numpy as np

from .program import Applied


def field_of(fixed: str, transform: Any) -> Any:
    """Displacement ``(D, H, W, 3)`` in LPS mm of a SimpleITK transform on the grid of an image file."""
    import SimpleITK as sitk

    grid = sitk.ReadImage(fixed)
    field = sitk.TransformToDisplacementField(
        transform, sitk.sitkVectorFloat64, grid.GetSize(), grid.GetOrigin(), grid.GetSpacing(), grid.GetDirection()
    )
    return np.swapaxes(sitk.GetArrayFromImage(field), 0, 2)


def apply_transform(fixed: str, label: str, transform: Any) -> Applied:
    """A label file resampled to the grid of an image file, and the field."""
    import SimpleITK as sitk

    warped = sitk.Resample(sitk.ReadImage(label), sitk.ReadImage(fixed), transform, sitk.sitkNearestNeighbor)
    return Applied(np.swapaxes(sitk.GetArrayFromImage(warped), 0, 2), field_of(fixed, transform))
