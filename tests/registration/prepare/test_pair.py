"""From two scans to what the network sees: places, affines of every source, and what is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from morphseek_monai.base.errors import DataError
from morphseek_monai.data.scans.scan import Scan, read_scan
from morphseek_monai.registration.models.model import RegistrationModel
from morphseek_monai.registration.prepare.pair import NetworkPair, pair_scans
from morphseek_monai.registration.prepare.scan_set import ScanSet
from morphseek_monai.space.grid import Grid

from ...scenes import Brains, centred, turned


@pytest.fixture(scope="module")
def scans(brains: Brains) -> tuple[Scan, Scan]:
    fixed = brains.resampled(0, centred((62, 56, 46), (3.2, 3.6, 4.3), turned((12, -9, 20))))
    moving = brains.resampled(1, centred((50, 60, 42), (4.0, 3.4, 5.0), turned((-6, 14, -10))))
    return read_scan(fixed, "fixed image"), read_scan(moving, "moving image")


@pytest.fixture(scope="module")
def pair(scans: tuple[Scan, Scan], model: RegistrationModel) -> NetworkPair:
    return pair_scans(*map(ScanSet, scans), model, "off")


def sampled(scan: Scan, pair: NetworkPair, matrix: Any) -> Any:
    """A scan at the mapped places of the pair's grid, by SciPy."""
    voxels = np.indices(pair.grid.size).reshape(3, -1)
    places = np.linalg.inv(scan.affine) @ matrix @ pair.grid.affine @ np.vstack([voxels, np.ones(voxels.shape[1])])
    return map_coordinates(scan.array.astype(np.float64), places[:3], order=1).reshape(pair.grid.size)


def alike(image: Any, expected: Any) -> float:
    """Correlation; the bright end is cut off in one of them, and the fine grid averaged."""
    return float(np.corrcoef(image.double().numpy().ravel(), expected.ravel())[0, 1])


@pytest.mark.parametrize("channel", [0, 1])
def test_channels_are_moving_and_fixed_at_their_places(
    channel: int, scans: tuple[Scan, Scan], pair: NetworkPair
) -> None:
    found = pair.image[0, channel]
    assert found.min() >= 0 and found.max() <= 1 + 1e-6
    own, other = (alike(found, sampled(scan, pair, np.eye(4))) for scan in (scans[1 - channel], scans[channel]))
    assert own > 0.97 and own > other + 0.01


def test_a_given_affine_maps_fixed_to_moving_in_world_millimetres(
    scans: tuple[Scan, Scan], model: RegistrationModel
) -> None:
    given = turned((5, 0, -8), (20, -12, 6))
    found = pair_scans(*map(ScanSet, scans), model, given)
    assert alike(found.image[0, 0], sampled(scans[1], found, given)) > 0.97
    assert alike(found.by_headers.alone[0, 0], sampled(scans[1], found, np.eye(4))) > 0.97
    assert alike(found.image[0, 0], sampled(scans[1], found, np.linalg.inv(given))) < 0.8
    np.testing.assert_allclose(found.affine, given, atol=1e-9)
    assert found.start == "given"


def test_a_file_is_the_same_as_its_matrix(scans: tuple[Scan, Scan], model: RegistrationModel, tmp_path: Path) -> None:
    given = turned((5, 0, -8), (20, -12, 6))
    np.savetxt(tmp_path / "a.txt", given)
    by_file = pair_scans(*map(ScanSet, scans), model, tmp_path / "a.txt")
    np.testing.assert_allclose(by_file.affine, given, atol=1e-9)
    assert by_file.start == str(tmp_path / "a.txt")
    np.testing.assert_allclose(by_file.image, pair_scans(*map(ScanSet, scans), model, given).image, atol=1e-5)


def test_off_is_the_identity(pair: NetworkPair) -> None:
    np.testing.assert_allclose(pair.affine, np.eye(4), atol=1e-12)
    np.testing.assert_array_equal(pair.image[:, :1], pair.by_headers.alone)
    assert pair.start == "off: the headers"


@pytest.mark.parametrize(
    "matrix",
    [np.diag([-1.0, 1, 1, 1]), np.diag([0.0, 1, 1, 1]), np.eye(3), np.full((4, 4), np.nan)],
    ids=["mirror", "flat", "3x3", "nan"],
)
def test_matrices_that_map_nothing(matrix: Any, scans: tuple[Scan, Scan], model: RegistrationModel) -> None:
    with pytest.raises(DataError, match=r"affine must be a \(4, 4\) matrix with positive determinant, RAS mm, got"):
        pair_scans(*map(ScanSet, scans), model, matrix)


def test_turning_both_headers_changes_nothing_but_the_places(
    scans: tuple[Scan, Scan], pair: NetworkPair, model: RegistrationModel
) -> None:
    rigid = turned((10, -8, 12), (300, 200, -100))
    turned_scans = [replace(scan, affine=rigid @ scan.affine) for scan in scans]
    other = pair_scans(*map(ScanSet, turned_scans), model, "off")
    np.testing.assert_allclose(other.grid.affine, rigid @ pair.grid.affine, atol=1e-6)
    np.testing.assert_allclose(other.image, pair.image, atol=2e-5)


def test_scans_are_not_changed(scans: tuple[Scan, Scan], model: RegistrationModel) -> None:
    before = [scan.array.copy() for scan in scans]
    pair_scans(*map(ScanSet, scans), model, "off")
    for scan, array in zip(scans, before):
        np.testing.assert_array_equal(scan.array, array)


def test_remarks_on_intensities_are_passed_on(scans: tuple[Scan, Scan], model: RegistrationModel) -> None:
    ct = replace(model, intensity={"ct": model.intensity["mr"]})
    positive = [replace(scan, array=scan.array.clip(0)) for scan in scans]
    found = pair_scans(*map(ScanSet, positive), ct, "off", ("ct", "ct"))
    assert [notice.split(" is taken as ct")[0] for notice in found.notices] == ["fixed image", "moving image"]


@pytest.mark.parametrize("factor", [1.5, 2.0])
def test_a_coarser_pair_shows_the_same(
    factor: float, scans: tuple[Scan, Scan], pair: NetworkPair, model: RegistrationModel
) -> None:
    coarse = pair_scans(*map(ScanSet, scans), model, "off", coarser=factor)
    np.testing.assert_allclose(coarse.grid.spacing, factor * pair.grid.spacing)
    np.testing.assert_allclose(coarse.grid.centre, pair.grid.centre, atol=1e-6)
    assert all(n % model.network.stride == 0 for n in coarse.grid.size)
    assert alike(coarse.image[0, 1], sampled(scans[0], coarse, np.eye(4))) > 0.95


@pytest.mark.parametrize(("factor", "stride"), [(2, 1), (1.5, 1), (4, 1), (1.5, 16), (2, 16)])
@pytest.mark.parametrize("size", [(48, 48, 48), (17, 31, 8)])
def test_coarser_voxels_cover_the_field_of_view(factor: float, stride: int, size: tuple[int, int, int]) -> None:
    grid = Grid(size, turned((10, 20, 30), (5, 6, 7)) @ np.diag([1.0, 2.0, 3.0, 1.0]))
    coarse = grid.coarsened(factor, stride)
    np.testing.assert_allclose(coarse.spacing, factor * grid.spacing)
    np.testing.assert_allclose(coarse.centre, grid.centre)
    assert (np.array(coarse.size) * coarse.spacing >= np.array(size) * grid.spacing - 1e-9).all()
    assert (np.array(coarse.size) - stride < np.array(size) / factor).all()
    assert all(n % stride == 0 for n in coarse.size)
