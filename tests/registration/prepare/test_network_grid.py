"""The axes of the fixed image: no header, no order of axes changes what the network sees."""

from __future__ import annotations

from itertools import permutations, product
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from morphseek_monai.registration.models.model import RegistrationModel
from morphseek_monai.registration.prepare.network_grid import MARGIN, foreground_ends, network_grid, own_axes
from morphseek_monai.space.image import orient

from ...scenes import turned

SPACING = (1.0, 2.0, 3.0)
ORIENTATIONS = [
    "".join(letters[axis][side] for axis, side in zip(order, sides))
    for letters in (("RL", "AP", "SI"),)
    for order in permutations(range(3))
    for sides in product((0, 1), repeat=3)
]


def ball(size: tuple[int, int, int], affine: Any, radius: float, at: Any = (0.0, 0, 0)) -> Any:
    """Tissue of one value, and its affine."""
    places = np.indices(size).reshape(3, -1).T @ affine[:3, :3].T + affine[:3, 3]
    return (np.linalg.norm(places - at, axis=1) <= radius).reshape(size)


def around(size: tuple[int, int, int], spacing: tuple[float, float, float], rigid: Any = None) -> Any:
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -np.array(spacing) * (np.array(size) - 1) / 2
    return affine if rigid is None else rigid @ affine


def test_there_are_48_orientations() -> None:
    assert len(set(ORIENTATIONS)) == 48


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_every_storage_of_an_image_is_one_image_along_one_set_of_axes(orientation: str) -> None:
    array = np.random.default_rng(0).random((4, 5, 6))
    affine = turned((12, -20, 15), (3, -40, 8)) @ np.diag([*SPACING, 1.0])
    nibabel: Any = nib.orientations
    change = nibabel.ornt_transform(nibabel.io_orientation(affine), nibabel.axcodes2ornt(tuple(orientation)))
    stored = nib.Nifti1Image(array, affine).as_reoriented(change)
    plain = orient(array, affine, "RAS")
    turned_back = orient(np.asarray(stored.dataobj), stored.affine, "RAS")
    np.testing.assert_array_equal(turned_back.array, plain.array)
    np.testing.assert_allclose(turned_back.affine, plain.affine, atol=1e-9)
    np.testing.assert_allclose(own_axes(turned_back), own_axes(plain), atol=1e-9)


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "PIR", "SAL"])
def test_voxels_stay_where_they_are_and_axes_point_as_asked(orientation: str) -> None:
    array = np.random.default_rng(0).random((4, 5, 6))
    affine = turned((12, -20, 15), (3, -40, 8)) @ np.diag([*SPACING, 1.0])
    image = orient(array, affine, orientation)
    assert "".join(nib.orientations.aff2axcodes(image.affine)) == orientation

    def centre_of_mass(values: Any, matrix: Any) -> Any:
        middle = np.array([(index * values).sum() / values.sum() for index in np.indices(values.shape)])
        return matrix[:3, :3] @ middle + matrix[:3, 3]

    np.testing.assert_allclose(centre_of_mass(image.array, image.affine), centre_of_mass(array, affine))


@pytest.mark.parametrize("rigid", [turned((0, 0, 0)), turned((33, -21, 70), (500, -300, 900))])
@pytest.mark.parametrize("orientation", ["RAS", "LPS", "LAS"])
def test_within_its_frame_an_image_is_upright_and_centred(rigid: Any, orientation: str) -> None:
    image = orient(np.zeros((4, 5, 6)), around((4, 5, 6), SPACING, rigid), orientation)
    axes = own_axes(image)
    np.testing.assert_allclose(axes[:3, :3] @ axes[:3, :3].T, np.eye(3), atol=1e-12)
    along = image.within(axes)
    np.testing.assert_allclose(along.affine[:3, :3], np.diag(image.grid.spacing), atol=1e-9)
    np.testing.assert_allclose(along.grid.centre, 0, atol=1e-9)
    np.testing.assert_allclose(axes @ along.affine, image.affine, atol=1e-9)


def test_the_axes_of_a_sheared_image_are_the_nearest_rotation() -> None:
    shear = np.eye(4)
    shear[0, 1] = 0.3
    rigid = turned((20, 10, -30))
    axes = own_axes(orient(np.zeros((8, 8, 8)), rigid @ shear @ np.diag([2.0, 2, 2, 1]), "RAS"))
    np.testing.assert_allclose(axes[:3, :3] @ axes[:3, :3].T, np.eye(3), atol=1e-12)
    turn = np.degrees(np.arccos((np.trace(axes[:3, :3].T @ rigid[:3, :3]) - 1) / 2))
    assert 0 < turn < np.degrees(0.3) / 2 + 1


class TestTissueEnds:
    def test_of_a_box(self) -> None:
        tissue = np.zeros((20, 30, 40), dtype=bool)
        tissue[3:15, 10:11, 0:40] = True
        assert foreground_ends(tissue).tolist() == [[3, 10, 0], [14, 10, 39]]

    def test_specks_are_no_anatomy(self) -> None:
        tissue = np.zeros((40, 40, 40), dtype=bool)
        tissue[10:30, 10:30, 10:30] = True
        tissue[0, 0, 0] = tissue[39, 39, 39] = True
        assert foreground_ends(tissue).tolist() == [[10, 10, 10], [29, 29, 29]]

    def test_of_nothing_is_everything(self) -> None:
        assert foreground_ends(np.zeros((8, 9, 10), dtype=bool)).tolist() == [[0, 0, 0], [7, 8, 9]]


class TestNetworkGrid:
    """The phantom bundle's network was trained on anatomies of 40 voxels, its stride is 8 or 16."""

    def grid(self, model: RegistrationModel, tissue: Any, spacing: tuple[float, float, float]) -> Any:
        return network_grid(orient(tissue, around(tissue.shape, spacing), "RAS"), tissue, model)

    def test_the_anatomy_is_as_many_voxels_long_as_in_training_around_it(self, model: RegistrationModel) -> None:
        tissue = np.zeros((150, 90, 90), dtype=bool)
        tissue[61:141, 20:70, 30:70] = True  # 80 voxels of 2 mm
        grid = self.grid(model, tissue, (2.0, 2.0, 2.0))
        np.testing.assert_allclose(grid.spacing, 80 * 2 / 40)
        np.testing.assert_allclose(grid.centre, [(100.5 - 74.5) * 2, 0, (49.5 - 44.5) * 2], atol=1e-9)
        least = np.array([80, 50, 40]) * 2 / grid.spacing + 2 * MARGIN - 1
        assert (np.array(grid.size) >= least).all() and (np.array(grid.size) % model.network.stride == 0).all()

    @pytest.mark.parametrize("unit", [1e-3, 0.1, 10.0, 1e3])
    def test_the_unit_of_length_does_not_matter(self, model: RegistrationModel, unit: float) -> None:
        size = (60, 50, 40)
        tissue = ball(size, around(size, (2.0, 2.0, 3.0)), 40)
        one, other = (self.grid(model, tissue, (2.0 * u, 2.0 * u, 3.0 * u)) for u in (1.0, unit))
        assert one.size == other.size
        np.testing.assert_allclose(other.spacing, one.spacing * unit)

    def test_it_is_never_finer_than_the_scan(self, model: RegistrationModel) -> None:
        tissue = np.ones((20, 24, 6), dtype=bool)
        np.testing.assert_allclose(self.grid(model, tissue, (1.0, 1.0, 8.0)).spacing, [1.175, 1.175, 8.0], rtol=0.05)
        np.testing.assert_allclose(self.grid(model, tissue[:, :, :3], (1.0, 1.0, 1.0)).spacing, 1.0)
