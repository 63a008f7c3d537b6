"""An oblique, anisotropic pair on unequal grids, and a transform between them that moves every point differently."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, gaussian_filter

from morphseek_monai.space.grid import Grid
from morphseek_monai.spatial.files.transform_file import read_transform
from morphseek_monai.spatial.point_map import Field, PointMap
from morphseek_monai.spatial.transform import map_points, resample

from ...scenes import centred, turned

FIXED = centred((24, 28, 20), (2.0, 1.5, 2.5), turned((12, -8, 20), (5, -7, 11)))
MOVING = centred((22, 30, 26), (2.25, 1.5, 2.0), turned((-10, 6, -14), (3, -4, 9)))
AFFINE = turned((6, -4, 8), (1.5, -2.5, 2.0)) @ np.diag([1.05, 0.96, 1.08, 1.0])
LPS = np.array([-1.0, -1.0, 1.0])


@cache
def field() -> Field:
    """Smooth, up to some five millimetres, on the fixed grid."""
    noise = np.random.default_rng(0).standard_normal((3, *FIXED.size))
    smooth = np.stack([gaussian_filter(component, 3) for component in noise])
    return Field(torch.from_numpy((smooth / np.abs(smooth).max() * 2.0).astype(np.float32))[None], FIXED)


def linear() -> PointMap:
    return PointMap((AFFINE,))


def deformable() -> PointMap:
    return PointMap((field(), AFFINE))


def places(count: int = 40, margin: int = 2) -> NDArray[np.float64]:
    """Voxel centres of the fixed grid, RAS mm, where no program interpolates; away from the border."""
    voxels = np.random.default_rng(1).integers(margin, np.array(FIXED.size) - margin, (count, 3))
    return voxels @ FIXED.affine[:3, :3].T + FIXED.affine[:3, 3]


def displacements(of: Field) -> NDArray[np.float64]:
    """A field in RAS mm, ``(X, Y, Z, 3)``, by hand: the linear part of the affine on voxels."""
    return np.moveaxis(of.ddf[0].double().numpy(), 0, -1) @ of.grid.affine[:3, :3].T


def image(grid: Grid, seed: int) -> Any:
    """A smooth image of the range 0 to 100."""
    values = gaussian_filter(np.random.default_rng(seed).random(grid.size), 2)
    values = (values - values.min()) / (values.max() - values.min()) * 100
    found = nib.Nifti1Image(values.astype(np.float32), grid.affine)
    found.set_qform(grid.affine, code=1)
    return found


def save_pair(folder: Path) -> None:
    """fixed.nii.gz and moving.nii.gz."""
    nib.save(image(FIXED, 1), folder / "fixed.nii.gz")
    nib.save(image(MOVING, 2), folder / "moving.nii.gz")


def warped(transform: Any) -> NDArray[np.float32]:
    """The moving image on the fixed grid, by this package."""
    moving = image(MOVING, 2)
    return resample(np.asarray(moving.dataobj), MOVING.affine, transform, FIXED)


def alike(theirs: NDArray[Any], ours: NDArray[Any]) -> None:
    """Images are one within a thousandth of the range, but at the moving image's border, where programs differ."""
    within = binary_erosion(ours > 0, iterations=2)
    assert theirs.shape == ours.shape and within.mean() > 0.15
    assert np.abs(theirs - ours)[within].max() < 0.1
    assert ((theirs > 0) == (ours > 0)).mean() > 0.85


def same_points(path: Any, expected: PointMap, **grids: Grid) -> None:
    """A file sends points where the transform sends them, within a thousandth of a millimetre."""
    points = places()
    wanted = expected.map_points(points)
    assert np.linalg.norm(wanted - points, axis=1).mean() > 0.8
    np.testing.assert_allclose(map_points(read_transform(path, **grids), points), wanted, atol=1e-3)
