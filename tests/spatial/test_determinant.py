"""Jacobian determinants in world coordinates: closed forms on oblique grids, SimpleITK on anisotropic ones."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from scipy.spatial.transform import Rotation

from morphseek_monai.fields import world_to_ddf
from morphseek_monai.space.grid import Grid
from morphseek_monai.spatial.compose import compose_transforms
from morphseek_monai.spatial.determinant import determinant_map
from morphseek_monai.spatial.transform import field_transform, make_transform

SCALE = np.array([[1.1, 0.2, 0, 5], [0, 0.9, 0.1, -7], [0.1, 0, 1.2, 3], [0, 0, 0, 1]])


def oblique(size: tuple[int, int, int] = (24, 20, 22), degrees: tuple[int, int, int] = (25, -30, 40)) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() * (0.8, 1.5, 2.2)
    affine[:3, 3] = (-40, 25, 60)
    return Grid(size, affine)


def ripple(grid: Grid) -> tuple[torch.Tensor, np.ndarray]:
    """``phi(x) = x + a sin(k . x) d`` in LPS mm and its determinant ``1 + a (k . d) cos(k . x)``."""
    wave, direction, height = np.array([0.12, -0.06, 0.08]), np.array([0.6, 0.3, 0.9]), 2.0
    centres = np.indices(grid.size).reshape(3, -1).T @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    phase = (centres * [-1, -1, 1]) @ wave
    displacement = (height * np.sin(phase)[:, None] * direction).reshape(*grid.size, 3)
    determinant = (1 + height * (wave @ direction) * np.cos(phase)).reshape(grid.size)
    return torch.from_numpy(displacement).permute(3, 0, 1, 2)[None], determinant


def test_a_linear_transform_has_its_determinant_everywhere() -> None:
    result = determinant_map(make_transform(SCALE, None, oblique()), oblique())
    assert np.allclose(result.values, np.linalg.det(SCALE[:3, :3]), atol=1e-4)
    assert result.folded == 0 and not result.beyond


def test_closed_form_on_an_oblique_anisotropic_grid() -> None:
    grid = oblique()
    world, expected = ripple(grid)
    transform = make_transform(SCALE, world_to_ddf(world, grid.affine), grid)
    inner = (slice(2, -2),) * 3
    deformable = determinant_map(transform, grid, "deformable").values[inner]
    assert expected.max() - expected.min() > 0.3
    assert np.abs(deformable - expected[inner]).max() < 0.01
    total = determinant_map(transform, grid).values[inner]
    assert np.allclose(total, deformable * np.linalg.det(SCALE[:3, :3]), rtol=1e-5)


def test_another_grid_of_the_same_body_sees_the_same() -> None:
    """Sampled on a finer, otherwise turned grid, the determinant at a point of the body stays."""
    field_grid, grid = oblique(), oblique((12, 12, 12), (0, 0, 0))
    grid.affine[:3, :3] *= 0.5
    grid.affine[:3, 3] = field_grid.centre - grid.affine[:3, :3] @ [5.5, 5.5, 5.5]
    world, _ = ripple(field_grid)
    result = determinant_map(make_transform(np.eye(4), world_to_ddf(world, field_grid.affine), field_grid), grid)
    expected = ripple(grid)[1]
    assert not result.beyond
    assert np.abs(result.values - expected)[1:-1, 1:-1, 1:-1].max() < 0.05


def test_simpleitk_finds_the_same_on_an_anisotropic_grid() -> None:
    grid = Grid((14, 12, 10), np.diag([-0.8, -1.5, 2.2, 1.0]))  # LPS axes: SimpleITK's filter knows no direction
    displacement = np.random.default_rng(0).uniform(-1.5, 1.5, (10, 12, 14, 3))
    image = sitk.GetImageFromArray(displacement, isVector=True)
    image.SetSpacing((0.8, 1.5, 2.2))
    expected = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(image)).transpose(2, 1, 0)
    chain = compose_transforms([field_transform(displacement, grid)])
    result = determinant_map(chain, grid)
    inner = (slice(1, -1),) * 3  # SimpleITK repeats the border
    assert np.abs(result.values[inner] - expected[inner]).max() < 1e-3
    assert (expected[inner] <= 0).any() and result.folded == (result.values <= 0).sum() > 0


def test_mirroring_is_folding_but_not_deformable() -> None:
    mirror = make_transform(np.diag([-1.0, 1, 1, 1]), None, oblique())
    assert determinant_map(mirror, oblique()).folded == 24 * 20 * 22
    assert np.allclose(determinant_map(mirror, oblique(), "deformable").values, 1, atol=1e-4)


def test_a_field_that_ends_inside_the_grid_is_told() -> None:
    grid = oblique()
    moved = make_transform(np.eye(4), torch.ones(1, 3, *grid.size), grid)
    larger = Grid((26, 20, 22), grid.affine)
    assert not determinant_map(moved, grid).beyond
    assert determinant_map(moved, larger).beyond


def test_unknown_part() -> None:
    with pytest.raises(ValueError, match="'part' must be of .*, got 'affine'"):
        determinant_map(make_transform(SCALE, None, oblique()), oblique(), "affine")
