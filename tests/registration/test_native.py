"""From the network's grid to the fixed image's: the field, its inverse, the error of both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from torch import Tensor

from morphseek_monai.fields import transfer_ddf
from morphseek_monai.registration.native import border_displacement, native_field, native_map
from morphseek_monai.space.grid import Grid

from ..scenes import turned

NETWORK = Grid((20, 18, 16), turned((10, -15, 25), (-20, 5, 40)) @ np.diag([4.0, 4.0, 4.0, 1.0]))


def finer(size: tuple[int, int, int], spacing: float) -> Grid:
    """A grid within the network's, turned otherwise."""
    affine = turned((5, 10, 20)) @ np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = NETWORK.centre - affine[:3, :3] @ (np.array(size) - 1) / 2
    return Grid(size, affine)


def smooth(amplitude: float) -> Tensor:
    """A field that vanishes at the border."""
    axes = [np.linspace(0, np.pi, n) for n in NETWORK.size]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    bump = np.sin(x) * np.sin(y) * np.sin(z)
    field = np.stack([bump, -bump * np.cos(y), 0.5 * bump]) * amplitude
    return torch.from_numpy(field[None]).float()


EVERYWHERE = torch.ones(1, 1, *NETWORK.size, dtype=torch.bool)


@pytest.mark.parametrize("grid", [finer((30, 26, 22), 1.5), finer((12, 12, 12), 3.0), NETWORK])
def test_the_same_millimetres_at_the_same_places(grid: Grid) -> None:
    ddf = smooth(2.0)
    found = native_field(ddf, NETWORK, grid, EVERYWHERE)
    assert found.grid is grid and found.ddf.shape == (1, 3, *grid.size) and found.ddf.dtype == torch.float32
    voxels = np.indices(grid.size).reshape(3, -1)
    places = np.linalg.inv(NETWORK.affine) @ grid.affine @ np.vstack([voxels, np.ones(voxels.shape[1])])
    expected = NETWORK.affine[:3, :3] @ np.stack([map_coordinates(c, places[:3], order=1) for c in ddf[0].numpy()])
    millimetres = grid.affine[:3, :3] @ found.ddf[0].reshape(3, -1).double().numpy()
    np.testing.assert_allclose(millimetres, expected, atol=1e-3)


def test_the_inverse_leads_back_and_its_error_is_what_is_left() -> None:
    grid = finer((44, 40, 36), 1.5)
    found = native_field(smooth(1.5), NETWORK, grid, EVERYWHERE)
    voxels = np.indices(grid.size)[:, 8:-8, 8:-8, 8:-8].reshape(3, -1).astype(float)

    def moved(points: Any, field: Tensor) -> Any:
        return points + np.stack([map_coordinates(c, points, order=1) for c in field[0].double().numpy()])

    for first, second in ((found.ddf, found.inverse), (found.inverse, found.ddf)):
        back = moved(moved(voxels, first), second)
        assert np.linalg.norm(1.5 * (back - voxels), axis=0).max() < 0.1
    assert np.linalg.norm(1.5 * (moved(voxels, found.ddf) - voxels), axis=0).max() > 3
    assert 0 <= found.inverse_error.mean <= found.inverse_error.p95 <= found.inverse_error.maximum


def test_the_error_counts_in_the_tissue_only() -> None:
    ddf = smooth(1.0)
    ddf[:, :, 15:] += torch.randn(1, 3, 5, 18, 16, generator=torch.Generator().manual_seed(0)) * 3  # folds
    left = EVERYWHERE.clone()
    left[:, :, 10:] = False
    errors = {name: native_field(ddf, NETWORK, NETWORK, tissue).inverse_error.maximum
              for name, tissue in (("left", left), ("all", EVERYWHERE), ("none", ~EVERYWHERE))}
    assert errors["left"] < 0.3 < 1 < errors["all"]
    assert errors["none"] == errors["all"]  # no tissue at all: everything counts


def test_of_a_constant_the_inverse_is_its_negative() -> None:
    ddf = torch.zeros(1, 3, *NETWORK.size)
    ddf[:, 0] = 1.25
    found = native_field(ddf, NETWORK, NETWORK, EVERYWHERE)
    torch.testing.assert_close(found.inverse[:, :, 3:-3, 3:-3, 3:-3], -ddf[:, :, 3:-3, 3:-3, 3:-3], atol=1e-3, rtol=0)


def test_on_its_own_grid_a_field_is_what_transfer_makes_of_it() -> None:
    ddf = smooth(2.0)
    found = native_field(ddf, NETWORK, NETWORK, EVERYWHERE)
    same = transfer_ddf(ddf, NETWORK.affine, NETWORK.affine, NETWORK.size, NETWORK.affine, NETWORK.affine)
    assert torch.equal(found.ddf, same)
    torch.testing.assert_close(found.ddf, ddf, atol=1e-4, rtol=0)


def test_maps_are_interpolated_and_zero_beyond() -> None:
    values = torch.from_numpy(np.indices(NETWORK.size)[0][None, None]).float()
    grid = Grid((60, 8, 8), NETWORK.affine @ np.diag([0.5, 1, 1, 1]))
    found = native_map(values, NETWORK, grid)
    assert found.shape == grid.size and found.dtype == np.float32
    np.testing.assert_allclose(found[:39, 4, 4], np.arange(39) / 2, atol=1e-5)
    assert (found[41:] == 0).all()


def test_the_border_is_the_outermost_voxels_that_show_tissue() -> None:
    ddf = torch.zeros(1, 3, *NETWORK.size)
    ddf[:, 1, 1:-1, 1:-1, 1:-1] = 9.0
    tissue = torch.ones(1, 1, *NETWORK.size, dtype=torch.bool)
    assert border_displacement(ddf, tissue) == 0
    ddf[:, 1, 0] = -2.0
    assert border_displacement(ddf, tissue) == pytest.approx(2.0)
    tissue[:, :, 0] = False  # air may move as it likes
    assert border_displacement(ddf, tissue) == 0
    assert border_displacement(ddf, torch.zeros_like(tissue)) == 0
