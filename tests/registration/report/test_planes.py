"""Planes hang as radiologists hang them, whatever the order and direction of the voxels in the file."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations, product

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from morphseek_monai.registration.report.planes import PLANES, Cuts, Plane, foreground_centre

# millimetres from the middle of the grid to the right, to the front, upwards
RIGHT, FRONT, UP = 12.0, 20.0, 32.0
SPACING = {"R": 2.0, "A": 2.5, "S": 4.0}
SIZE = {"R": 21, "A": 27, "S": 25}
AXIAL, CORONAL, SAGITTAL = PLANES
OPPOSITE = dict(zip("RLAPSI", "LRPAIS"))
ALL_CODES = ["".join(letters) for order in permutations(["RL", "AP", "SI"]) for letters in product(*order)]


def turn(tilt: float) -> NDArray[np.float64]:
    return np.asarray(Rotation.from_euler("zyx", [tilt, -0.7 * tilt, 0.5 * tilt]).as_matrix())


def grid(codes: Sequence[str], tilt: float = 0.0) -> tuple[NDArray[np.float64], tuple[int, int, int]]:
    """Affine and size of a grid with these axes, its middle at a place that is not the origin; turned by ``tilt``."""
    matrix = np.zeros((3, 3))
    size = []
    for j, code in enumerate(codes):
        letter = code if code in SPACING else OPPOSITE[code]
        matrix["RAS".index(letter), j] = SPACING[letter] * (1 if code in SPACING else -1)
        size.append(SIZE[letter])
    matrix = turn(tilt) @ matrix
    middle = (np.array(size) - 1) / 2
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = matrix, np.array([7.0, -11.0, 5.0]) - matrix @ middle
    return affine, (size[0], size[1], size[2])


def marked(affine: NDArray[np.float64], size: tuple[int, int, int], place: Sequence[float]) -> NDArray[np.float64]:
    """A volume with one bright voxel, ``place`` mm from the middle of the grid along R, A and S."""
    voxel = np.linalg.solve(affine[:3, :3], np.array(place)) + (np.array(size) - 1) / 2
    volume = np.zeros(size)
    volume[tuple(np.rint(voxel).astype(int))] = 1.0
    return volume


def middle_cuts(affine: NDArray[np.float64], size: tuple[int, int, int]) -> Cuts:
    x, y, z = ((n - 1) / 2 for n in size)
    return Cuts(affine, size, (x, y, z))


def offset(picture: NDArray[np.float64], cuts: Cuts, plane: Plane) -> tuple[float, float]:
    """Where the bright pixel is: mm to the right and downwards from the middle of the picture."""
    ((row,), (column,)) = np.nonzero(picture)
    width, height = cuts.spacing(plane)
    return (column - (picture.shape[1] - 1) / 2) * width, (row - (picture.shape[0] - 1) / 2) * height


@pytest.mark.parametrize("codes", ALL_CODES)
@pytest.mark.parametrize(
    ("plane", "place", "expected"),
    [
        (AXIAL, (RIGHT, FRONT, 0), (-RIGHT, -FRONT)),  # right is on the left, the front is on top
        (CORONAL, (RIGHT, 0, UP), (-RIGHT, -UP)),
        (SAGITTAL, (0, FRONT, UP), (-FRONT, -UP)),  # the nose points to the left
    ],
)
def test_marker_lands_where_radiologists_expect_it(
    codes: str, plane: Plane, place: tuple[float, float, float], expected: tuple[float, float]
) -> None:
    affine, size = grid(codes)
    cuts = middle_cuts(affine, size)
    assert offset(cuts.picture(marked(affine, size, place), plane), cuts, plane) == pytest.approx(expected)


@pytest.mark.parametrize("plane", PLANES, ids=lambda plane: plane.name)
def test_letters_stand_at_the_edges_that_they_name(plane: Plane) -> None:
    affine, size = grid("PIR")
    cuts = middle_cuts(affine, size)
    step = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
    found = []
    for letter in plane.letters:
        across, down = offset(cuts.picture(marked(affine, size, [20.0 * x for x in step[letter]]), plane), cuts, plane)
        found.append("left" if across < 0 else "right" if across > 0 else "top" if down < 0 else "bottom")
    assert found == ["left", "right", "top", "bottom"]


@pytest.mark.parametrize("codes", ["RAS", "LAS", "PIR", "ASL"])
@pytest.mark.parametrize("tilt", [0.25, -0.3])
def test_oblique_grid_is_shown_along_its_nearest_axes(codes: str, tilt: float) -> None:
    affine, size = grid(codes, tilt)
    cuts = middle_cuts(affine, size)
    # a marker in the plane: off the middle along the grid's own axes, not along those of the body
    right, front, _ = (turn(tilt) @ np.diag([RIGHT, FRONT, UP])).T
    picture = cuts.picture(marked(affine, size, right + front), AXIAL)
    assert offset(picture, cuts, AXIAL) == pytest.approx((-RIGHT, -FRONT))
    assert cuts.obliquity > 10


@pytest.mark.parametrize("codes", ALL_CODES)
def test_sizes_and_positions_do_not_depend_on_the_order_of_the_axes(codes: str) -> None:
    cuts = middle_cuts(*grid(codes))
    assert cuts.voxels(CORONAL) == (SIZE["R"], SIZE["S"])
    assert cuts.extent(SAGITTAL) == pytest.approx((SIZE["A"] * SPACING["A"], SIZE["S"] * SPACING["S"]))
    assert cuts.spacing(AXIAL) == pytest.approx((SPACING["R"], SPACING["A"]))
    assert [cuts.position(plane) for plane in PLANES] == pytest.approx([5.0, -11.0, 7.0])
    assert cuts.obliquity == pytest.approx(0.0, abs=1e-4)


def test_planes_pass_through_their_point() -> None:
    affine, size = grid("PIR")
    volume = np.zeros(size)
    volume[3, 5, 8] = 1.0
    at_point, beside = Cuts(affine, size, (3.2, 4.8, 8.0)), Cuts(affine, size, (4.0, 6.0, 9.0))
    assert all(at_point.picture(volume, plane).sum() == 1 for plane in PLANES)
    assert all(beside.picture(volume, plane).sum() == 0 for plane in PLANES)


@pytest.mark.parametrize("codes", ["RAS", "LPI", "PIR", "ASL"])
@pytest.mark.parametrize(
    ("plane", "direction", "expected"),
    [
        (AXIAL, (1, 0, 0), (-1 / SPACING["R"], 0)),
        (AXIAL, (0, 1, 0), (0, -1 / SPACING["A"])),
        (CORONAL, (0, 0, 1), (0, -1 / SPACING["S"])),
        (CORONAL, (0, 1, 0), (0, 0)),  # through the plane
        (SAGITTAL, (0, 1, 0), (-1 / SPACING["A"], 0)),
        (SAGITTAL, (0, 0, 1), (0, -1 / SPACING["S"])),
    ],
)
def test_displacement_by_a_millimetre(
    codes: str, plane: Plane, direction: tuple[int, int, int], expected: tuple[float, float]
) -> None:
    affine, size = grid(codes)
    voxels = np.linalg.solve(affine[:3, :3], np.array(direction, dtype=float))
    ddf = np.broadcast_to(voxels[:, None, None, None], (3, *size))
    cuts = middle_cuts(affine, size)
    shown = cuts.displacement(ddf, plane)
    assert shown.shape == (2, *cuts.voxels(plane)[::-1])
    np.testing.assert_allclose(shown, np.broadcast_to(np.array(expected)[:, None, None], shown.shape), atol=1e-12)


def test_displacement_is_cut_like_the_image() -> None:
    affine, size = grid("PIR")
    cuts = Cuts(affine, size, (2, 3, 4))
    ddf = np.random.default_rng(0).normal(size=(3, *size))
    across = cuts.displacement(ddf, AXIAL)[0]  # to the left of the body: against array axis 2
    np.testing.assert_array_equal(across, -cuts.picture(ddf[2], AXIAL))


def test_foreground_centre_is_that_of_the_bright_part() -> None:
    volume = np.full((10, 12, 14), 0.05)
    volume[2:5, 6:9, 10:13] = (0.2, 0.5, 1.0)  # how bright does not matter
    assert foreground_centre(volume, 0.0, 1.0) == (3.0, 7.0, 11.0)
    assert foreground_centre(volume - 1000, -1000.0, -999.0) == (3.0, 7.0, 11.0)


def test_foreground_centre_of_nothing_is_the_middle() -> None:
    assert foreground_centre(np.zeros((10, 12, 15)), 0.0, 1.0) == (4.5, 5.5, 7.0)
