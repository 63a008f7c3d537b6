"""A head as a function of position, at known rigid poses: a series whose motion is known exactly."""

from __future__ import annotations

from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

SIZE = (30, 34, 26)
TILT = Rotation.from_euler("xyz", [6, -4, 9], degrees=True).as_matrix()
AFFINE = np.eye(4)
AFFINE[:3, :3] = TILT @ np.diag([3.5, 3.5, 4.0])
AFFINE[:3, 3] = [12, -20, 5] - AFFINE[:3, :3] @ ((np.array(SIZE) - 1) / 2)
CENTRE = np.array([12.0, -20, 5])
BLOBS = np.random.default_rng(3).uniform([-26, -32, -26], [26, 32, 26], (24, 3))
SIGNS = np.random.default_rng(4).choice([-0.5, 0.7, 1.0], 24)


def head(points: NDArray[Any]) -> NDArray[Any]:
    """Intensity at points ``(..., 3)``, RAS mm about the head's middle: an ellipsoid with blobs in it."""
    radius = np.sqrt(((points / [38, 46, 38]) ** 2).sum(-1))
    value = 1 / (1 + np.exp((radius - 1) * 14))
    for centre, sign in zip(BLOBS, SIGNS, strict=True):
        value = value + sign * np.exp(-((points - centre) ** 2).sum(-1) / 70)
    return 600 * value


def pose(shift: Any, degrees: Any) -> NDArray[np.float64]:
    """A map that turns about :data:`CENTRE` and shifts."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    matrix[:3, 3] = CENTRE + shift - matrix[:3, :3] @ CENTRE
    return matrix


def volume(matrix: NDArray[Any], seed: int = 0, noise: float = 6.0) -> NDArray[np.float32]:
    """The head after the map ``matrix``: points of the head at rest -> points of this volume."""
    voxels = np.moveaxis(np.indices(SIZE), 0, -1)
    points = voxels @ AFFINE[:3, :3].T + AFFINE[:3, 3]
    back = np.linalg.inv(matrix)
    values = head(points @ back[:3, :3].T + back[:3, 3] - CENTRE)
    return (values + np.random.default_rng(seed).normal(0, noise, SIZE)).astype(np.float32)


def write_series(path: Any, volumes: Any, seconds: float = 2.5) -> Any:
    """A NIfTI series with a time step."""
    image: Any = nib.Nifti1Image(np.stack(volumes, axis=3), AFFINE)
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = seconds
    nib.save(image, path)
    return path
