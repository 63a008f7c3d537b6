"""Displacement fields of other programs -> ``ddf`` of this package: ``(1, 3, D, H, W)`` float32, in voxels.

The fields all say where to look in the moving image, so that no inversion is needed: ``warped(x) = moving(x + u(x))``.
What differs is the unit, the order of the array's axes and the sign of the world's axes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morphseek_monai.fields import world_to_ddf


def from_voxels(displacement: NDArray[Any]) -> Tensor:
    """Convert ``(D, H, W, 3)`` in voxels, axes and components in NiBabel's order (convexAdam, Learn2Reg)."""
    return _channels_first(displacement).float()


def from_world(displacement: NDArray[Any], affine: NDArray[Any]) -> Tensor:
    """Convert ``(D, H, W, 3)`` in LPS millimetres, axes in NiBabel's order (ANTsPy).

    Args:
        displacement: the field, on the fixed grid.
        affine: of the fixed image, voxel -> RAS mm, ``(4, 4)``.
    """
    return world_to_ddf(_channels_first(displacement).double(), affine).float()


def from_itk(displacement: NDArray[Any], affine: NDArray[Any]) -> Tensor:
    """Convert ``(W, H, D, 3)`` in LPS millimetres, as ITK and SimpleITK hand out vector images (elastix, greedy).

    Args:
        displacement: the field, on the fixed grid.
        affine: of the fixed image, voxel -> RAS mm, ``(4, 4)``.
    """
    return from_world(displacement.transpose(2, 1, 0, 3), affine)


def _channels_first(displacement: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(displacement.transpose(3, 0, 1, 2)))[None]
