"""Chains of transforms against SimpleITK: order, flattening, one interpolation, collapse to a field."""

from __future__ import annotations

from pathlib import Path

import itk
import numpy as np
import pytest
import SimpleITK as sitk
import torch

from morphseek_monai.space.grid import Grid
from morphseek_monai.spatial.compose import compose_transforms
from morphseek_monai.spatial.files.transform_file import read_transform, write_transform
from morphseek_monai.spatial.transform import make_transform, map_points, members

GRID = Grid((12, 14, 10), np.array([[0, -2.0, 0, 30], [1.5, 0, 0, -20], [0, 0, 3.0, 5], [0, 0, 0, 1]]))
TURN = np.array([[0, -1.0, 0, 2], [1, 0, 0, -3], [0, 0, 1, 4], [0, 0, 0, 1]])
STRETCH = np.diag([2.0, 1, 0.5, 1])


def field(seed: int = 0) -> torch.Tensor:
    return torch.rand(1, 3, *GRID.size, generator=torch.Generator().manual_seed(seed)) - 0.5


def test_the_first_acts_first() -> None:
    turn, stretch = (make_transform(matrix, None, GRID) for matrix in (TURN, STRETCH))
    point = np.array([[1.0, 2, 3]])
    expected = (STRETCH @ TURN @ [1, 2, 3, 1])[:3]
    assert np.allclose(map_points(compose_transforms([turn, stretch]), point)[0], expected)
    assert not np.allclose(map_points(compose_transforms([stretch, turn]), point)[0], expected)


def test_files_of_composites_become_one_flat_composite_that_simpleitk_reads(tmp_path: Path) -> None:
    first, second = make_transform(TURN, field(), GRID), make_transform(STRETCH, field(1), GRID)
    write_transform(tmp_path / "c.h5", compose_transforms([first, compose_transforms([second])]))
    flat = read_transform(tmp_path / "c.h5")
    names = [member.GetNameOfClass() for member in members(flat)]
    assert names == ["AffineTransform", "DisplacementFieldTransform"] * 2
    assert flat.GetNumberOfTransforms() == 4
    other = sitk.ReadTransform(str(tmp_path / "c.h5"))
    for point in ([25.0, -10, 20], [20.0, -5, 15]):
        here = map_points(second, map_points(first, np.array([point])))[0]
        there = np.array(other.TransformPoint([-point[0], -point[1], point[2]])) * [-1, -1, 1]
        assert np.allclose(here, there, atol=1e-4)


def test_collapsed_to_a_field_it_moves_voxels_as_before() -> None:
    chain = compose_transforms([make_transform(TURN, field(), GRID), make_transform(STRETCH, field(1), GRID)])
    collapsed = compose_transforms([chain], GRID)
    assert [member.GetNameOfClass() for member in members(collapsed)] == ["DisplacementFieldTransform"]
    voxels = np.argwhere(np.ones(GRID.size))[::7]
    centres = voxels @ GRID.affine[:3, :3].T + GRID.affine[:3, 3]
    assert np.allclose(map_points(collapsed, centres), map_points(chain, centres), atol=1e-4)


def test_members_are_kept_in_double_precision() -> None:
    tiny = np.eye(4)
    tiny[0, 3] = 1e-9
    once = make_transform(tiny, None, GRID)
    moved = compose_transforms([once, once]).TransformPoint([1.0, 0.0, 0.0])
    assert moved[0] - 1 == pytest.approx(-2e-9, rel=1e-5)  # x is to the left in LPS


def test_any_itk_transform_can_be_chained() -> None:
    shift = itk.TranslationTransform[itk.D, 3].New()
    shift.SetOffset([1.0, 2.0, 3.0])
    assert map_points(compose_transforms([shift, shift]), np.zeros((1, 3))).tolist() == [[-2, -4, 6]]


def test_nothing_to_compose() -> None:
    with pytest.raises(ValueError, match=r"compose_transforms\(\) 'transforms' must hold at least one"):
        compose_transforms([])
