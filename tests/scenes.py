"""Two phantom brains on grids of their own: what ``register`` meets."""

from __future__ import annotations

from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform
from scipy.spatial.transform import Rotation

from morphseek_monai.space.grid import Grid


class Brains(NamedTuple):
    """Images of two phantom subjects on one grid, 4 mm."""

    arrays: list[NDArray[np.float32]]
    affine: NDArray[np.float64]

    def image(self, subject: int, affine: NDArray[Any] | None = None) -> Any:
        """A NiBabel image, on the phantoms' grid or with another affine."""
        return nib.Nifti1Image(self.arrays[subject], self.affine if affine is None else affine)

    def resampled(self, subject: int, grid: Grid, dtype: Any = np.float32) -> Any:
        """The same subject as another scanner would have cut it, by SciPy."""
        into = np.linalg.inv(self.affine) @ grid.affine
        values = affine_transform(self.arrays[subject], into[:3, :3], into[:3, 3], grid.size, order=1)
        return nib.Nifti1Image(values.astype(dtype), grid.affine)


def turned(degrees: tuple[float, float, float], shift: tuple[float, float, float] = (0, 0, 0)) -> NDArray[np.float64]:
    """A rigid ``(4, 4)``."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    matrix[:3, 3] = shift
    return matrix


def centred(size: tuple[int, int, int], spacing: tuple[float, float, float], rigid: NDArray[np.float64]) -> Grid:
    """A grid around the origin, turned and shifted by ``rigid``."""
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -np.array(spacing) * (np.array(size) - 1) / 2
    return Grid(size, rigid @ affine)
