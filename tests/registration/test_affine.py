"""Alignment is judged by poses that are known exactly: a head that is a function of position, drawn on any grid."""

from __future__ import annotations

from functools import cache

import itk
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from morphseek_monai.data.grid import Grid
from morphseek_monai.data.phantom_anatomy import brain, paint
from morphseek_monai.registration.affine import Alignment, align
from morphseek_monai.registration.linear_map import plausible

Array = NDArray[np.float64]


def pose(axis: tuple[float, float, float], degrees: float, scale: float, shift: tuple[float, float, float]) -> Array:
    matrix = np.eye(4)
    unit = np.array(axis) / np.linalg.norm(axis)
    matrix[:3, :3] = scale * Rotation.from_rotvec(np.radians(degrees) * unit).as_matrix()
    matrix[:3, 3] = shift
    return matrix


def centred(size: tuple[int, int, int], linear: Array, at: tuple[float, float, float] = (0, 0, 0)) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = linear
    affine[:3, 3] = np.array(at) - linear @ (np.array(size) - 1) / 2
    return Grid(size, affine)


FIXED = centred((60, 68, 62), np.diag([3.0, 3.0, 3.0]))
TRUTH = pose((1, -2, 0.5), 10, 1.08, (9, -10, 7))


def draw(
    grid: Grid, truth: Array | None = None, bright: tuple[float, float] = (0, 1), noise: float = 0.01
) -> NDArray[np.float32]:
    """The phantom head, moved by ``truth``, on a grid; ``bright`` are the ends of its intensity range."""
    anatomy = brain()
    mean = np.array([anatomy.air["0000"]] + [part.signal["0000"] for part in anatomy.structures])
    mean = bright[0] + (bright[1] - bright[0]) * mean / mean.max()
    image = np.zeros(grid.size)
    for corner in np.ndindex(2, 2, 2):  # partial volume
        voxels = np.indices(grid.size).reshape(3, -1) + (np.array(corner)[:, None] - 0.5) / 2
        world = grid.affine[:3, :3] @ voxels + grid.affine[:3, 3:]
        head = np.linalg.inv(np.eye(4) if truth is None else truth) @ np.vstack([world, np.ones(world.shape[1])])
        image += mean[paint(anatomy, head[:3].reshape(3, *grid.size) / (anatomy.field_of_view / 2))] / 8
    image += np.random.default_rng(0).normal(0, noise, grid.size)
    return image.clip(0, 1).astype(np.float32)


@cache
def fixed_head() -> NDArray[np.float32]:
    return draw(FIXED)


def head_points() -> Array:
    """Points in the fixed head, mm, ``(N, 3)``."""
    inside = np.argwhere(ndimage.gaussian_filter(fixed_head(), 1) > 0.2)[::53]
    return inside @ FIXED.affine[:3, :3].T + FIXED.affine[:3, 3]


def distance(one: Array, other: Array, points: Array | None = None) -> Array:
    points = head_points() if points is None else points
    return np.linalg.norm(points @ (one - other)[:3, :3].T + (one - other)[:3, 3], axis=1)


@cache
def known() -> tuple[Grid, NDArray[np.float32], Alignment]:
    """A moving head on another grid (oblique, anisotropic, other size) and its alignment."""
    tilt = Rotation.from_euler("xyz", [8, -5, 12], degrees=True).as_matrix()
    grid = centred((80, 76, 44), tilt @ np.diag([2.5, 3.0, 5.0]), (9, -10, 7))
    moving = draw(grid, TRUTH)
    return grid, moving, align(fixed_head(), FIXED, moving, grid)


def test_known_pose_on_another_grid() -> None:
    found = known()[2]
    assert distance(np.eye(4), TRUTH).mean() > 15
    assert distance(found.matrix, TRUTH).mean() < 0.7
    assert found.matrix.dtype == np.float64
    assert found.after > found.before > 0
    assert not found.notices


def test_fields_of_view_apart() -> None:
    truth = pose((0, 1, 1), 10, 1.0, (200, -150, 0))
    grid = centred((60, 68, 62), np.diag([3.0, 3.0, 3.0]), (200, -150, 0))
    found = align(fixed_head(), FIXED, draw(grid, truth), grid)
    assert distance(found.matrix, truth).mean() < 0.7
    assert found.start != "headers"
    assert found.before == 0


def test_inverted_contrast() -> None:
    grid, _, _ = known()
    found = align(fixed_head(), FIXED, draw(grid, TRUTH, bright=(1, 0)), grid)
    assert distance(found.matrix, TRUTH).mean() < 0.7


def test_part_of_the_head() -> None:
    grid = centred((60, 68, 34), np.diag([3.0, 3.0, 3.0]), (4, -3, 36))
    truth = pose((1, 0, 0), 5, 1.0, (4, -3, 2))
    found = align(fixed_head(), FIXED, draw(grid, truth), grid)
    assert distance(found.matrix, truth).mean() < 1.5


def test_aligned_images_stay() -> None:
    found = align(fixed_head(), FIXED, draw(FIXED, noise=0.03), FIXED)
    assert distance(found.matrix, np.eye(4)).mean() < 0.3
    assert found.start == "headers"


def test_same_image_stays_exactly() -> None:
    found = align(fixed_head(), FIXED, fixed_head(), FIXED)
    np.testing.assert_array_equal(found.matrix, np.eye(4))
    assert found.before == found.after
    assert found.notices == ("no alignment raises the mutual information: the headers are used as they are",)


def test_same_bits_with_any_number_of_threads() -> None:
    grid, moving, first = known()
    threads = itk.MultiThreaderBase.GetGlobalDefaultNumberOfThreads()
    for number in (1, 2):
        try:
            itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(number)
            again = align(fixed_head(), FIXED, moving, grid)
            assert itk.MultiThreaderBase.GetGlobalDefaultNumberOfThreads() == number
        finally:
            itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(threads)
        np.testing.assert_array_equal(again.matrix, first.matrix)
        assert again[1:] == first[1:]


def test_seed_moves_the_result_a_little() -> None:
    grid, moving, first = known()
    other = align(fixed_head(), FIXED, moving, grid, seed=1)
    assert 0 < distance(first.matrix, other.matrix).max() < 0.7


def test_turning_both_headers_turns_the_result() -> None:
    grid, moving, first = known()
    turn = pose((1, 2, -1.5), 30, 1.0, (40, -25, 60))
    turned = align(
        fixed_head(), FIXED._replace(affine=turn @ FIXED.affine), moving, grid._replace(affine=turn @ grid.affine)
    )
    corners = np.stack(np.meshgrid(*[[0, n - 1] for n in FIXED.size]), -1).reshape(-1, 3)
    places = corners @ FIXED.affine[:3, :3].T + FIXED.affine[:3, 3]
    assert distance(np.linalg.inv(turn) @ turned.matrix @ turn, first.matrix, places).max() < 0.01


def test_unit_of_length_does_not_matter() -> None:
    """A mouse's head is a small head."""
    grid, moving, first = known()
    small = np.diag([0.05, 0.05, 0.05, 1.0])
    found = align(
        fixed_head(), FIXED._replace(affine=small @ FIXED.affine), moving, grid._replace(affine=small @ grid.affine)
    )
    assert distance(np.linalg.inv(small) @ found.matrix @ small, first.matrix).max() < 0.01


def test_sheared_grid_is_exact() -> None:
    shear = np.diag([3.0, 3.0, 3.0]) @ np.array([[1, 0.15, 0], [0, 1, -0.1], [0, 0, 1]])
    grid = centred((70, 68, 62), shear)
    moving, _, _ = known()
    found = align(draw(grid), grid, known()[1], moving)
    assert distance(found.matrix, TRUTH).mean() < 0.7


def test_left_handed_grid() -> None:
    grid = centred(FIXED.size, np.diag([-3.0, 3.0, 3.0]))
    moving, _, _ = known()
    found = align(fixed_head()[::-1], grid, known()[1], moving)
    assert distance(found.matrix, TRUTH).mean() < 0.7


def test_simpleitk_resamples_with_it() -> None:
    """The direction is that of ITK's transforms: points of the fixed image to points of the moving one."""
    sitk = pytest.importorskip("SimpleITK")
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    grid, moving, found = known()

    def image(array: NDArray[np.float32], affine: Array):  # type: ignore[no-untyped-def]
        picture = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        picture.SetSpacing(spacing.tolist())
        picture.SetDirection(((flip @ affine)[:3, :3] / spacing).ravel().tolist())
        picture.SetOrigin((flip @ affine)[:3, 3].tolist())
        return picture

    lps = flip @ found.matrix @ flip
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(lps[:3, :3].ravel().tolist())
    transform.SetTranslation(lps[:3, 3].tolist())
    reference, picture = image(fixed_head(), FIXED.affine), image(moving, grid.affine)

    def correlation(transform) -> float:  # type: ignore[no-untyped-def]
        warped = sitk.GetArrayFromImage(sitk.Resample(picture, reference, transform)).transpose(2, 1, 0)
        return float(np.corrcoef(warped.ravel(), fixed_head().ravel())[0, 1])

    assert correlation(sitk.Transform()) < 0.9
    assert correlation(transform) > 0.97


@pytest.mark.parametrize("which", ["fixed", "moving"])
@pytest.mark.parametrize("value", [0.0, 0.5, np.nan])
def test_no_contrast(which: str, value: float) -> None:
    empty = np.full(FIXED.size, value, dtype=np.float32)
    images = (empty, fixed_head()) if which == "fixed" else (fixed_head(), empty)
    found = align(images[0], FIXED, images[1], FIXED)
    np.testing.assert_array_equal(found.matrix, np.eye(4))
    assert found.start == "headers"
    assert found.notices == (f"the {which} image has no contrast to align by: the headers are used as they are",)


@pytest.mark.parametrize("size", [(24, 24, 24), (30, 26, 1), (2, 2, 2), (1, 1, 40)])
def test_noise_of_any_size_is_no_exception(size: tuple[int, int, int]) -> None:
    grid = centred(size, np.diag([4.0, 3.0, 5.0]))
    noise = np.random.default_rng(1).random(size, dtype=np.float32)
    for pair in ((fixed_head(), FIXED, noise, grid), (noise, grid, fixed_head(), FIXED)):
        found = align(*pair)
        assert np.isfinite(found.matrix).all()
        assert np.linalg.det(found.matrix[:3, :3]) > 0
        assert found.after >= found.before


@pytest.mark.parametrize(
    ("linear", "expected"),
    [
        (np.diag([1.9, 0.55, 1.0]), True),
        (np.diag([2.1, 1.0, 1.0]), False),
        (np.diag([1.0, 0.45, 1.0]), False),
        (np.array([[1, 0.4, 0], [0, 1, 0], [0, 0, 1.0]]), True),
        (np.array([[1, 0.6, 0], [0, 1, 0], [0, 0, 1.0]]), False),
        (np.diag([-1.0, 1.0, 1.0]), False),
        (np.zeros((3, 3)), False),
    ],
)
def test_plausible(linear: Array, expected: bool) -> None:
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    assert plausible(matrix) is expected


def test_array_of_another_size() -> None:
    with pytest.raises(ValueError, match=r"align\(\) 'moving' must have the size of its grid, \(60, 68, 62\), got"):
        align(fixed_head(), FIXED, np.zeros((4, 4, 4), np.float32), FIXED)
