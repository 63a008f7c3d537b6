"""Maps of points against ITK's transforms, and what a registration need not load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from morphseek_monai.space.grid import Grid
from morphseek_monai.spatial.itk_sampling import ddf_by_itk, resample_by_itk
from morphseek_monai.spatial.point_map import Field, PointMap
from morphseek_monai.spatial.transform import composite, map_points, point_map, resample, to_ddf

from ..scenes import turned

AFFINE = turned((8, -5, 12), (4, -3, 6)) @ np.diag([1.05, 0.96, 1.1, 1.0])
OBLIQUE = Grid((13, 11, 9), turned((20, -15, 35), (-30, 12, 55)) @ np.diag([2.0, 1.5, 3.0, 1.0]))
UPRIGHT = Grid((17, 20, 15), np.diag([-1.4, 1.1, 2.0, 1.0]) @ turned((0, 0, 0), (12, -2, 24)))


def field(grid: Grid, seed: int) -> Field:
    return Field(torch.randn(1, 3, *grid.size, generator=torch.Generator().manual_seed(seed)), grid)


MAPS = {
    "identity": PointMap(()),
    "affine": PointMap((AFFINE,)),
    "field first": PointMap((field(OBLIQUE, 0), AFFINE)),
    "field last": PointMap((np.linalg.inv(AFFINE), field(OBLIQUE, 1))),
    "two fields": PointMap((field(UPRIGHT, 2), AFFINE, field(OBLIQUE, 3))),
}


def scan(points: PointMap, grid: Grid) -> tuple[Any, Any]:
    """An image, and its affine, that covers about half of a grid after a map."""
    affine = turned((-5, 8, 30)) @ np.diag([1.4, 1.2, 2.1, 1.0])
    array = np.random.default_rng(0).random((13, 12, 11)).astype(np.float32)
    affine[:3, 3] = map_points(composite(points), grid.centre[None])[0] - affine[:3, :3] @ [6, 6, 5]
    return array, affine


@pytest.mark.parametrize("grid", [OBLIQUE, UPRIGHT], ids=["oblique", "upright"])
@pytest.mark.parametrize("name", MAPS)
def test_images_are_resampled_as_itk_does(name: str, grid: Grid) -> None:
    array, affine = scan(MAPS[name], grid)
    expected = resample_by_itk(array, affine, composite(MAPS[name]), grid, "linear", -7)
    found = resample(array, affine, MAPS[name], grid, "linear", -7)
    assert 0.1 < (expected == -7).mean() < 0.95
    turned_over = (expected == -7) != (found == -7)  # at an edge
    assert turned_over.mean() < 0.002
    assert np.abs(expected - found)[~turned_over].max() < 1e-3


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float64, np.float32])
@pytest.mark.parametrize("name", MAPS)
def test_labels_are_resampled_as_itk_does(name: str, dtype: Any) -> None:
    array, affine = scan(MAPS[name], OBLIQUE)
    ids = np.floor(200 * array).astype(dtype)
    expected = resample_by_itk(ids.astype(np.float64), affine, composite(MAPS[name]), OBLIQUE, "nearest", 3)
    found = resample(ids, affine, MAPS[name], OBLIQUE, "nearest", 3)
    assert found.dtype == dtype
    assert (found != expected).mean() < 0.002  # between two voxels


@pytest.mark.parametrize("name", MAPS)
def test_points_are_mapped_as_itk_does(name: str) -> None:
    points = np.random.default_rng(1).uniform(-40, 80, (300, 3))
    np.testing.assert_allclose(MAPS[name].map_points(points), map_points(composite(MAPS[name]), points), atol=1e-4)
    assert MAPS[name].map_points(np.empty((0, 3))).shape == (0, 3)


@pytest.mark.parametrize("name", MAPS)
def test_a_map_as_one_field_is_that_of_itk(name: str) -> None:
    expected = ddf_by_itk(composite(MAPS[name]), UPRIGHT)
    torch.testing.assert_close(to_ddf(MAPS[name], UPRIGHT), expected, atol=1e-4, rtol=0)


def test_itk_transforms_become_maps_again() -> None:
    again = point_map(composite(MAPS["two fields"]))
    assert again is not None
    for one, other in zip(again.maps, MAPS["two fields"].maps, strict=True):
        if isinstance(other, Field):
            assert isinstance(one, Field) and one.grid.same_as(other.grid)
            torch.testing.assert_close(one.ddf, other.ddf, atol=1e-5, rtol=0)
        else:
            np.testing.assert_allclose(one, other, atol=1e-12)  # type: ignore[arg-type]


def test_far_from_the_origin_nothing_is_lost() -> None:
    """Single precision counts in 1e-4 mm at two metres, in voxels it does not notice."""
    away = turned((0, 0, 0), (2000, -1500, 1000))
    moved = Grid(OBLIQUE.size, away @ OBLIQUE.affine)
    u = field(OBLIQUE, 4).ddf
    array, affine = scan(PointMap((Field(u, OBLIQUE),)), OBLIQUE)
    near = resample(array, affine, PointMap((Field(u, OBLIQUE),)), OBLIQUE)
    far = resample(array, away @ affine, PointMap((Field(u, moved),)), moved)
    np.testing.assert_allclose(far, near, atol=1e-5)


def test_a_single_slice_is_resampled_along_the_other_axes() -> None:
    plane = np.random.default_rng(0).random((6, 7, 1)).astype(np.float32)
    shift = PointMap((turned((0, 0, 0), (0.5, 0, 0)),))
    found = resample(plane, np.eye(4), shift, Grid((6, 7, 1), np.eye(4)), outside=-1)
    np.testing.assert_allclose(found[:-1], (plane[:-1] + plane[1:]) / 2, atol=1e-6)
    assert (found[-1] == -1).all()  # half a voxel beyond the last centre the image ends


def test_writing_a_registration_loads_no_filter_of_itk(tmp_path: Path) -> None:
    """They take seconds and 700 MiB."""
    code = f"""
import sys
import numpy as np
import torch
from morphseek_monai.space.grid import Grid
from morphseek_monai.data.scans.scan import Scan, write_scan
from morphseek_monai.registration.native import native_field
from morphseek_monai.spatial.point_map import Field, PointMap
from morphseek_monai.spatial.transform import resample
from morphseek_monai.spatial.files.transform_file import write_transform

grid = Grid((12, 12, 12), np.eye(4))
found = native_field(torch.zeros(1, 3, 12, 12, 12), grid, grid, torch.ones(1, 1, 12, 12, 12, dtype=torch.bool))
points = PointMap((Field(found.ddf, grid), np.eye(4)))
write_scan({str(tmp_path / "warped.nii.gz")!r}, resample(np.ones(grid.size), grid.affine, points, grid), grid)
write_transform({str(tmp_path / "t.h5")!r}, points)
print([name for name in sys.modules if name.startswith("itk._ITK")])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert (tmp_path / "t.h5").is_file()
