"""Inverses: exact for linear parts, measured for fields, honest about folds."""

from __future__ import annotations

from pathlib import Path

import itk
import numpy as np
import pytest
import SimpleITK as sitk
import torch

from morphseek_monai.base.errors import DataError
from morphseek_monai.fields import invert
from morphseek_monai.registration.folder import read_registration
from morphseek_monai.space.grid import Grid
from morphseek_monai.spatial.compose import compose_transforms
from morphseek_monai.spatial.files.transform_file import read_transform
from morphseek_monai.spatial.invert import invert_transform, measure_inverse
from morphseek_monai.spatial.transform import make_transform, map_points

GRID = Grid((24, 20, 18), np.array([[0, -2.0, 0, 30], [1.5, 0, 0, -20], [0, 0, 3.0, 5], [0, 0, 0, 1]]))
TURN = np.array([[0.9, -0.3, 0, 2], [0.25, 1.1, 0, -3], [0, 0.1, 0.95, 4], [0, 0, 0, 1]])


def waves(amplitude: float, size: tuple[int, ...] = GRID.size) -> torch.Tensor:
    """A field that vanishes at the border, largest slope ``pi * amplitude / size``."""
    axes = [torch.sin(torch.linspace(0, torch.pi, n)) for n in size]
    bump = axes[0].view(-1, 1, 1) * axes[1].view(1, -1, 1) * axes[2].view(1, 1, -1)
    return amplitude * torch.stack([bump, -bump, 0.5 * bump])[None]


def test_linear_parts_are_inverted_exactly() -> None:
    result = invert_transform(make_transform(TURN, None, GRID), GRID)
    points = np.random.default_rng(0).uniform(-100, 100, (20, 3))
    expected = (points - TURN[:3, 3]) @ np.linalg.inv(TURN[:3, :3]).T
    assert np.allclose(map_points(result.transform, points), expected, atol=1e-9)
    assert result.error.maximum < 1e-4 and result.error.points == np.prod(GRID.size)


def test_a_field_is_inverted_between_the_affines_of_a_chain() -> None:
    chain = compose_transforms([make_transform(TURN, waves(1.5), GRID), make_transform(TURN, waves(-1.0), GRID)])
    result = invert_transform(chain, GRID)
    # where the second field, too, knows the points, they come back
    centre = np.array([GRID.centre]) + np.random.default_rng(0).uniform(-4, 4, (30, 3))
    there = map_points(chain, centre)
    assert np.abs(there - centre).max() > 1
    assert np.linalg.norm(map_points(result.transform, there) - centre, axis=1).max() < 0.1
    assert result.error.p95 < 0.1


def test_the_error_is_that_of_simpleitk(registered: Path) -> None:
    """Every voxel centre there and back by foreign code; those carried off the field's grid do not count."""
    grid = read_registration(registered).fixed
    forward, backward = (sitk.ReadTransform(str(registered / name)) for name in ("transform.h5", "inverse.h5"))
    field = sitk.CompositeTransform(forward).GetNthTransform(1)
    centres = np.argwhere(np.ones(grid.size)) @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    distances = []
    for point in (centres * [-1, -1, 1]).tolist():
        moved = np.array(field.TransformPoint(point)) * [-1, -1, 1]
        voxel = np.linalg.solve(grid.affine, [*moved, 1])[:3]
        if (voxel >= -1e-6).all() and (voxel <= np.array(grid.size) - 1 + 1e-6).all():
            distances.append(np.linalg.norm(np.subtract(backward.TransformPoint(forward.TransformPoint(point)), point)))
    ours = measure_inverse(*(read_transform(registered / name) for name in ("transform.h5", "inverse.h5")), grid)
    assert ours.points == pytest.approx(len(distances), rel=0.01)
    assert ours.mean == pytest.approx(np.mean(distances), rel=0.02)
    assert ours.p95 == pytest.approx(np.quantile(distances, 0.95), rel=0.05)
    assert ours.maximum == pytest.approx(np.max(distances), rel=0.05)
    assert ours.p95 < 0.1 < 1 < np.abs(np.subtract(forward.TransformPoint(point), point)).max()


def test_coarse_to_fine_is_as_exact_as_the_plain_iteration() -> None:
    """A grid of 40 voxels is begun at 10; the displacement is that of a body, 4 voxels with slopes of 0.3."""
    grid = Grid((40, 36, 34), np.diag([1.0, 2, 1.5, 1]))
    ddf = waves(4.0, grid.size)
    transform = make_transform(np.eye(4), ddf, grid)
    plain = invert(ddf, tolerance=1e-4)
    assert plain.residual < 1e-3
    best = measure_inverse(transform, make_transform(np.eye(4), plain.ddf, grid), grid)
    error = invert_transform(transform, grid).error
    assert error.p95 < 1.02 * best.p95 < 0.05 and error.maximum < 1.02 * best.maximum


def test_a_wrong_inverse_is_measured_in_millimetres() -> None:
    shift = np.eye(4)
    shift[2, 3] = 2.5
    still = make_transform(np.eye(4), None, GRID)
    error = measure_inverse(make_transform(shift, None, GRID), still, GRID)
    assert (error.mean, error.p95, error.maximum) == pytest.approx((2.5, 2.5, 2.5), abs=1e-4)


def test_large_grids_are_measured_at_some_voxels() -> None:
    grid = Grid((2, 1200, 900), np.diag([5.0, 1, 1, 1]))
    still = make_transform(np.eye(4), None, grid)
    error = measure_inverse(still, still, grid)
    assert error.maximum < 1e-3 and 50_000 < error.points <= 1_200_000


def test_folds_show_in_the_error() -> None:
    folded = invert_transform(make_transform(np.eye(4), waves(14.0), GRID), GRID)
    assert folded.error.maximum > 1


def test_everything_carried_away_leaves_nothing_to_measure() -> None:
    away = invert_transform(make_transform(np.eye(4), torch.full((1, 3, *GRID.size), 100.0), GRID), GRID)
    assert away.error.points == 0 and np.isnan(away.error.p95)


def test_what_cannot_be_inverted_is_named() -> None:
    spline = itk.BSplineTransform[itk.D, 3, 3].New()
    with pytest.raises(DataError, match="a BSplineTransform cannot be inverted; make it a displacement field first"):
        invert_transform(spline, GRID)
    flat = make_transform(np.diag([1.0, 1, 0, 1]), None, GRID)
    with pytest.raises(DataError, match="singular"):
        invert_transform(flat, GRID)
