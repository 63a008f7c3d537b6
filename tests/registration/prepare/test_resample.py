"""Resampling to the network's grid: means of blocks, not picked voxels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from morphseek_monai.registration.prepare.resample import as_tensor, onto_grid, own_grid
from morphseek_monai.space.grid import Grid
from morphseek_monai.space.image import Image

from ...scenes import turned


def covering(size: tuple[int, int, int], spacing: Any, blocks: tuple[int, int, int]) -> Grid:
    """The grid of the same field of view whose voxels are blocks of voxels of another one."""
    cut = np.diag([*map(float, blocks), 1.0])
    cut[:3, 3] = (np.array(blocks) - 1) / 2
    coarse = tuple(int(n) for n in np.array(size) // blocks)
    return Grid((coarse[0], coarse[1], coarse[2]), np.diag([*spacing, 1.0]) @ cut)


@pytest.mark.parametrize(("spacing", "factor"), [((1.0, 1.0, 1.0), 2), ((0.7, 0.7, 0.7), 3), ((1.0, 1.0, 1.0), 4)])
def test_a_fitting_coarser_grid_holds_block_means(spacing: Any, factor: int) -> None:
    array = np.random.default_rng(0).random((12, 24, 12)).astype(np.float32)
    grid = covering(array.shape, spacing, (factor,) * 3)
    found = onto_grid(Image(array, np.diag([*spacing, 1.0])), grid, np.eye(4))
    blocks = array.reshape(12 // factor, factor, 24 // factor, factor, 12 // factor, factor)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, blocks.mean(axis=(1, 3, 5)), atol=1e-5)


def test_fine_stripes_become_grey_not_stripes() -> None:
    array = np.zeros((24, 24, 24), dtype=np.float32)
    array[::2] = 1
    found = onto_grid(Image(array, np.eye(4)), covering(array.shape, (1, 1, 1), (3, 3, 3)), np.eye(4))
    np.testing.assert_allclose(found, 0.5, atol=0.17 + 1e-6)  # picking every third voxel gives 0 and 1


def test_the_own_grid_is_taken_over_bit_for_bit() -> None:
    array = np.random.default_rng(0).random((8, 9, 10)).astype(np.float32)
    affine = turned((10, 20, 30), (5, 6, 7)) @ np.diag([2.0, 3.0, 4.0, 1.0])
    found = onto_grid(Image(array, affine), Grid((8, 9, 10), affine), np.eye(4))
    # the coarse axes are averaged too: k is the ratio to the finest spacing
    np.testing.assert_allclose(found[:, 4, 5], array[:, 4, 5], atol=0.5)
    same = onto_grid(Image(array, np.diag([2.0, 2, 2, 1])), Grid((8, 9, 10), np.diag([2.0, 2, 2, 1])), np.eye(4))
    np.testing.assert_allclose(same, array, atol=1e-6)


def test_the_matrix_maps_from_the_grid_to_the_image_and_beyond_is_zero() -> None:
    array = np.random.default_rng(0).random((10, 10, 10)).astype(np.float32) + 1
    grid = Grid((10, 10, 10), np.eye(4))
    found = onto_grid(Image(array, np.eye(4)), grid, turned((0, 0, 0), (3, 0, 0)))
    np.testing.assert_allclose(found[:7], array[3:], atol=1e-6)
    assert (found[8:] == 0).all()


def test_a_refined_grid_covers_the_same_block() -> None:
    grid = Grid((3, 4, 5), turned((10, 20, 30), (5, 6, 7)) @ np.diag([2.0, 3.0, 4.0, 1.0]))
    fine = grid.subdivided(np.array([2, 3, 1]))
    assert fine.size == (6, 12, 5)
    np.testing.assert_allclose(fine.spacing, [1, 1, 4])
    corner = np.array([-0.5, -0.5, -0.5, 1])
    np.testing.assert_allclose(fine.affine @ corner, grid.affine @ corner)
    np.testing.assert_allclose(fine.centre, grid.centre)


class TestOwnGrid:
    tissue = np.zeros((40, 50, 60), dtype=bool)
    tissue[5:31, 10:42, 7:8] = True
    affine = turned((10, 20, 30), (5, 6, 7)) @ np.diag([1.0, 1.0, 3.0, 1.0])

    def test_it_covers_the_tissue_with_voxels_of_about_the_spacing(self) -> None:
        grid = own_grid(Image(self.tissue, self.affine), self.tissue, np.array([2.0, 2.0, 2.0]))
        np.testing.assert_allclose(grid.spacing, [2, 2, 3])  # never finer than the image
        centre = self.affine @ [17.5, 25.5, 7, 1]
        np.testing.assert_allclose(grid.centre, centre[:3])
        ends = np.linalg.inv(grid.affine) @ self.affine @ np.array([[5, 10, 7, 1], [30, 41, 7, 1]]).T
        assert (ends[:3].min(axis=1) >= 0).all() and (ends[:3].max(axis=1) <= np.array(grid.size) - 1).all()
        assert (np.array(grid.size) * grid.spacing <= np.array([26, 32, 3]) + 3 * grid.spacing).all()

    def test_of_an_image_without_tissue_it_is_the_image(self) -> None:
        nothing = np.zeros_like(self.tissue)
        grid = own_grid(Image(nothing, self.affine), nothing, np.array([1.0, 1.0, 1.0]))
        assert grid.size == (42, 52, 62)


def test_images_become_channels() -> None:
    first, second = (np.full((2, 3, 4), n, dtype=np.float32) for n in (1, 2))
    tensor = as_tensor(first, second, device=torch.device("cpu"))
    assert tensor.shape == (1, 2, 2, 3, 4) and tensor.dtype == torch.float32
    assert tensor[0, :, 0, 0, 0].tolist() == [1, 2]
