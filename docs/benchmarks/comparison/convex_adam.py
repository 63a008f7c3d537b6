"""convexAdam: coupled convex optimisation and Adam on MIND features, by the package convexAdam."""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import Any

import nibabel as nib
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from morphseek_monai.data.scans.stored import read_stored

from .convert import from_voxels
from .tool import Registration, Tool


class ConvexAdam(Tool):
    """The package's function with its defaults, on the CPU in single precision.

    Args:
        threads: taken from ``OMP_NUM_THREADS``, which the caller has set.
    """

    def __init__(self, threads: int) -> None:
        self.convex_adam = importlib.import_module("convexAdam.convex_adam_MIND").convex_adam_pt
        self.version = f"convexAdam {version('convexAdam')}"
        self.settings = "MIND, defaults: grid 6, displacements of 4, inverse consistency, 80 iterations at 1/2, float32"

    def register(self, fixed: str, moving: str) -> Registration:
        """Register; the package takes NiBabel's images."""
        field: NDArray[Any] = self.convex_adam(
            nib.load(fixed), nib.load(moving), dtype=torch.float32, device=torch.device("cpu")
        )

        def resample(label: str) -> NDArray[Any]:
            # the package's apply_convex(), which knows linear interpolation only, with nearest neighbour
            places = field.transpose(3, 0, 1, 2) + np.indices(field.shape[:3])
            warped: NDArray[Any] = map_coordinates(read_stored(label).array, places, order=0)
            return warped

        return Registration(from_voxels(field), resample)
