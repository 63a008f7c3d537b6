"""Alignment is judged by poses that are known exactly: a head that is a function of position, drawn on any grid."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from morphseek_monai.data.phantoms.anatomy import brain, paint
from morphseek_monai.registration.alignment.align import Alignment, TransformModel, align
from morphseek_monai.space.grid import Grid

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
    assert found.notices == ("no alignment clearly raises the mutual information: the headers are used as they are",)


SCRIPT = """
import numpy as np
from scipy import ndimage
from morphseek_monai.space.grid import Grid
from morphseek_monai.registration.alignment.align import align
grid = Grid((40, 40, 40), np.diag([4.0, 4.0, 4.0, 1.0]))
image = ndimage.gaussian_filter(np.random.default_rng(0).random((40, 40, 40), dtype=np.float32), 3)
other = ndimage.affine_transform(image, np.diag([1.05, 0.97, 1.02]), [-1, 2, 1], order=1)
found = align(image, grid, other, grid)
print(found.matrix.tobytes().hex(), found.after.hex())
"""


def test_same_bits_with_any_number_of_threads() -> None:
    printed = set()
    for number in ("1", "2"):
        threads = {"OMP_NUM_THREADS": number, "OPENBLAS_NUM_THREADS": number, "MKL_NUM_THREADS": number}
        run = subprocess.run(
            [sys.executable, "-c", SCRIPT], env={**os.environ, **threads}, capture_output=True, text=True, check=True
        )
        printed.add(run.stdout)
    assert len(printed) == 1


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


@pytest.mark.parametrize("model", ["rigid", "similarity"])
def test_poorer_model(model: TransformModel) -> None:
    """The head grew by 8 %: a similarity tells, a rigid map does not."""
    grid, moving, _ = known()
    found = align(fixed_head(), FIXED, moving, grid, model=model)
    linear = found.matrix[:3, :3]
    scale = np.linalg.det(linear) ** (1 / 3)
    np.testing.assert_allclose(linear @ linear.T, scale**2 * np.eye(3), atol=1e-6)
    if model == "rigid":
        assert scale == pytest.approx(1, abs=1e-6)
        assert distance(found.matrix, TRUTH).mean() < 6
    else:
        assert scale == pytest.approx(1.08, abs=0.01)
        assert distance(found.matrix, TRUTH).mean() < 0.7


@pytest.mark.parametrize(("axis", "degrees"), [((1, 0, 0), 90), ((0, 0, 1), 180), ((1, 1, 1), 120)])
def test_turned_header(axis: tuple[float, float, float], degrees: float) -> None:
    grid, moving, _ = known()
    turn = pose(axis, degrees, 1.0, (0, 0, 0))
    found = align(fixed_head(), FIXED, moving, grid._replace(affine=turn @ grid.affine))
    assert distance(found.matrix, turn @ TRUTH).mean() < 0.7
    assert found.start == "quarter turns"
    assert found.notices == ("the moving image fits turned by 90 or 180 degrees only: check the axes in its header",)


@pytest.mark.parametrize("which", ["fixed", "moving"])
def test_slab_with_a_header_far_off(which: str) -> None:
    far = pose((1, 0, 0), 0, 1.0, (0, 0, 150))
    slab = Grid((60, 68, 18), FIXED.affine @ pose((1, 0, 0), 0, 1.0, (0, 0, 30)))
    images = (fixed_head()[:, :, 30:48], slab._replace(affine=far @ slab.affine)), (draw(FIXED), FIXED)
    if which == "fixed":
        found, truth = align(*images[0], *images[1]), np.linalg.inv(far)
        points = head_points() + [0, 0, 150]
    else:
        found, truth, points = align(*images[1], *images[0]), far, head_points()
    points = points[np.abs(points[:, 2] - points[:, 2].mean()) < 30]
    assert distance(found.matrix, truth, points).mean() < 1.5
    assert found.start != "headers"


def test_constant_border() -> None:
    """Bright padding of two widths: its edges match nothing."""
    grid = centred(FIXED.size, np.diag([3.0, 3.0, 3.0]), (9, -10, 7))
    moving = draw(grid, TRUTH)
    framed = [np.pad(image[k:-k, k:-k, k:-k], k, constant_values=1) for image, k in ((fixed_head(), 6), (moving, 3))]
    found = align(framed[0], FIXED, framed[1], grid)
    assert distance(found.matrix, TRUTH).mean() < 0.7


def test_any_range_of_intensities() -> None:
    """Background in the middle of the range, as a z-score of the brain alone has it, or far from 0."""
    grid, moving, first = known()
    scored = [np.where(image > 0.05, (image - 0.5) / 0.2, 0) for image in (fixed_head(), moving)]
    assert distance(align(scored[0], FIXED, scored[1], grid).matrix, TRUTH).mean() < 0.7
    found = align(1000 + 70 * fixed_head(), FIXED, moving / 30 - 5, grid)
    assert distance(found.matrix, first.matrix).max() < 0.3


def test_masked_part_does_not_count() -> None:
    grid, moving, _ = known()
    spoilt, mask = moving.copy(), np.ones(moving.shape, bool)
    mask[:30], mask[:, :20] = False, False
    spoilt[~mask] = np.random.default_rng(0).random(int((~mask).sum()))
    found = align(fixed_head(), FIXED, spoilt, grid, moving_mask=mask)
    assert distance(found.matrix, TRUTH).mean() < 1.5


def test_thick_slices() -> None:
    grid = centred((60, 68, 18), np.diag([3.0, 3.0, 10.0]))
    truth = pose((0, 0, 1), 6, 1.0, (5, -4, 3))
    assert distance(align(fixed_head(), FIXED, draw(grid, truth), grid).matrix, truth).mean() < 1


def test_doubts_are_told() -> None:
    grid, moving, _ = known()
    large = grid._replace(affine=np.diag([10, 10, 10, 1.0]) @ grid.affine)
    assert any("times as large as" in notice for notice in align(fixed_head(), FIXED, moving, large).notices)
    noise = np.random.default_rng(1).random((40, 40, 40), dtype=np.float32)
    unlike = align(fixed_head(), FIXED, noise, centred((40, 40, 40), np.diag([4.0, 4.0, 4.0])))
    assert any("tell little of each other" in notice for notice in unlike.notices)
    two = Grid((60, 68, 2), FIXED.affine @ pose((1, 0, 0), 0, 1.0, (0, 0, 30)))
    thin = align(fixed_head()[:, :, 30:32], two, draw(FIXED), FIXED)
    assert thin.notices[0] == "one image has 2 slices: a rigid alignment is all that they tell"
    assert distance(thin.matrix, np.eye(4), head_points()[np.abs(head_points()[:, 2]) < 6]).mean() < 1.5


def test_unknown_model() -> None:
    with pytest.raises(ValueError, match=r"align\(\) 'model' must be one of rigid, similarity, affine, got 'linear'"):
        align(fixed_head(), FIXED, fixed_head(), FIXED, model="linear")  # type: ignore[arg-type]


def test_mask_of_another_size() -> None:
    with pytest.raises(ValueError, match=r"align\(\) 'fixed_mask' must have the size of its grid"):
        align(fixed_head(), FIXED, fixed_head(), FIXED, fixed_mask=np.ones((4, 4, 4)))


def test_array_of_another_size() -> None:
    with pytest.raises(ValueError, match=r"align\(\) 'moving' must have the size of its grid, \(60, 68, 62\), got"):
        align(fixed_head(), FIXED, np.zeros((4, 4, 4), np.float32), FIXED)
