"""The result as ITK sees it: points, fields, files and resampling, against SimpleITK and by hand."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import itk
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from scipy.ndimage import map_coordinates
from torch import Tensor

from morphseek_monai.base.errors import DataError
from morphseek_monai.fields import ddf_to_world
from morphseek_monai.space.grid import Grid
from morphseek_monai.spatial.files.transform_file import read_transform, write_transform
from morphseek_monai.spatial.point_map import Field, PointMap
from morphseek_monai.spatial.transform import (
    composite,
    field_of,
    linear_of,
    make_transform,
    map_points,
    members,
    resample,
    to_ddf,
)

from ..scenes import turned

FullDisk = Callable[[int], AbstractContextManager[None]]
AFFINE = turned((8, -5, 12), (4, -3, 6)) @ np.diag([1.05, 0.96, 1.1, 1.0])
OBLIQUE = Grid((9, 11, 7), turned((20, -15, 35), (-30, 12, 55)) @ np.diag([2.0, 1.5, 3.0, 1.0]))


@pytest.fixture
def ddf() -> Tensor:
    return torch.randn(1, 3, *OBLIQUE.size, generator=torch.Generator().manual_seed(0))


def world(grid: Grid, voxels: Any) -> Any:
    return np.asarray(voxels, dtype=np.float64) @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def inner_voxels(grid: Grid, count: int = 40) -> Any:
    return np.random.default_rng(0).uniform(0, np.array(grid.size) - 1, (count, 3))


def at(ddf: Tensor, voxels: Any) -> Any:
    """The field between voxels, linearly, by SciPy."""
    return np.stack([map_coordinates(c, voxels.T, order=1) for c in ddf[0].double().numpy()], axis=1)


def test_points_are_displaced_first_and_then_mapped_by_the_affine(ddf: Tensor) -> None:
    voxels = inner_voxels(OBLIQUE)
    moved = world(OBLIQUE, voxels + at(ddf, voxels))
    expected = moved @ AFFINE[:3, :3].T + AFFINE[:3, 3]
    found = map_points(make_transform(AFFINE, ddf, OBLIQUE), world(OBLIQUE, voxels))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_no_points_are_no_points(ddf: Tensor) -> None:
    assert map_points(make_transform(AFFINE, ddf, OBLIQUE), np.empty((0, 3))).shape == (0, 3)


def test_beyond_its_grid_a_field_is_zero(ddf: Tensor) -> None:
    far = np.array([[500.0, -400, 300]])
    found = map_points(make_transform(AFFINE, ddf, OBLIQUE), far)
    np.testing.assert_allclose(found, far @ AFFINE[:3, :3].T + AFFINE[:3, 3], atol=1e-9)


@pytest.mark.parametrize("suffix", [".h5", ".hdf5", ".tfm", ".txt"])
def test_simpleitk_maps_points_alike_by_the_file(suffix: str, ddf: Tensor, tmp_path: Path) -> None:
    transform = make_transform(AFFINE, ddf, OBLIQUE)
    write_transform(tmp_path / f"t{suffix}", transform)
    foreign = sitk.ReadTransform(str(tmp_path / f"t{suffix}"))
    points = world(OBLIQUE, inner_voxels(OBLIQUE))
    flip = np.array([-1.0, -1, 1])
    expected = np.array([foreign.TransformPoint(p) for p in (points * flip).tolist()]) * flip
    np.testing.assert_allclose(map_points(transform, points), expected, atol=1e-4)
    assert [path.name for path in tmp_path.iterdir()] == [f"t{suffix}"]


def test_a_file_keeps_a_field_to_a_hundred_thousandth_of_a_voxel(ddf: Tensor, tmp_path: Path) -> None:
    write_transform(tmp_path / "a.h5", make_transform(AFFINE, ddf, OBLIQUE))
    first = read_transform(tmp_path / "a.h5")
    write_transform(tmp_path / "b.h5", first)
    fields = [field_of(members(t)[1]) for t in (make_transform(AFFINE, ddf, OBLIQUE), first)]
    assert 0 < np.abs(fields[0][0] - fields[1][0]).max() < 1e-5 * OBLIQUE.spacing.min()
    assert fields[0][1].same_as(fields[1][1])
    second = read_transform(tmp_path / "b.h5")  # once written, it stays as it is
    for one, other in zip(members(first), members(second), strict=True):
        for what in ("GetParameters", "GetFixedParameters"):
            np.testing.assert_array_equal(list(getattr(one, what)()), list(getattr(other, what)()))


@pytest.mark.parametrize("suffix", [".h5", ".tfm"])
def test_a_map_of_points_is_written_as_the_transform_that_itk_would_make_of_it(
    suffix: str, ddf: Tensor, tmp_path: Path
) -> None:
    points = PointMap((AFFINE, Field(ddf, OBLIQUE), np.linalg.inv(AFFINE)))
    write_transform(tmp_path / f"t{suffix}", points)
    there = np.linalg.inv(AFFINE)
    places = world(OBLIQUE, inner_voxels(OBLIQUE)) @ there[:3, :3].T + there[:3, 3]
    expected = map_points(composite(points), places)
    foreign = sitk.ReadTransform(str(tmp_path / f"t{suffix}"))
    flip = np.array([-1.0, -1, 1])
    found = np.array([foreign.TransformPoint(p) for p in (places * flip).tolist()]) * flip
    assert np.linalg.norm(expected - places, axis=1).mean() > 1
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_allclose(points.map_points(places), expected, atol=1e-4)


def test_readers_of_either_precision_read_a_file(ddf: Tensor, tmp_path: Path) -> None:
    write_transform(tmp_path / "t.h5", PointMap((Field(ddf, OBLIQUE),)))
    for precision in (itk.F, itk.D):
        reader = itk.TransformFileReaderTemplate[precision].New(FileName=str(tmp_path / "t.h5"))
        reader.Update()
        found = itk.down_cast(reader.GetModifiableTransformList().pop())
        (member,) = [itk.down_cast(found.GetNthTransform(n)) for n in range(found.GetNumberOfTransforms())]
        assert member.GetNumberOfParameters() == ddf.numel()
        first = float(ddf_to_world(ddf, OBLIQUE.affine)[0, 0, 0, 0, 0])
        assert float(member.GetParameters()[0]) == pytest.approx(first, abs=1e-4)


@pytest.mark.parametrize("shear", [0.2, 0.6])
def test_a_field_on_a_sheared_grid(shear: float, ddf: Tensor, tmp_path: Path) -> None:
    skewed = np.eye(4)
    skewed[0, 1] = shear
    grid = Grid(OBLIQUE.size, OBLIQUE.affine @ skewed)
    transform = make_transform(AFFINE, ddf, grid)
    voxels = inner_voxels(grid)
    expected = world(grid, voxels + at(ddf, voxels)) @ AFFINE[:3, :3].T + AFFINE[:3, 3]
    np.testing.assert_allclose(map_points(transform, world(grid, voxels)), expected, atol=1e-5)
    write_transform(tmp_path / "t.h5", transform)
    np.testing.assert_allclose(map_points(read_transform(tmp_path / "t.h5"), world(grid, voxels)), expected, atol=1e-4)


def test_bspline_transforms_stay_in_double_precision(tmp_path: Path) -> None:
    bspline = itk.BSplineTransform[itk.D, 3, 3].New()
    bspline.SetTransformDomainPhysicalDimensions([40.0, 40.0, 40.0])
    values = np.random.default_rng(0).normal(size=bspline.GetNumberOfParameters())
    bspline.SetParameters(itk.OptimizerParameters[itk.D](itk.Array[itk.D](itk.vnl_vector_from_array(values))))
    composite = make_transform(AFFINE, None, OBLIQUE)
    composite.AddTransform(bspline)
    write_transform(tmp_path / "t.h5", composite)
    again = members(read_transform(tmp_path / "t.h5"))
    assert [part.GetNameOfClass() for part in again] == ["AffineTransform", "BSplineTransform"]
    np.testing.assert_array_equal(list(again[1].GetParameters()), values)
    np.testing.assert_allclose(linear_of(again[0]), AFFINE, atol=1e-14)
    points = np.random.default_rng(1).uniform(-30, 30, (10, 3))
    np.testing.assert_allclose(
        map_points(read_transform(tmp_path / "t.h5"), points), map_points(composite, points), atol=1e-12
    )


def test_members_of_nested_composites_keep_their_order() -> None:
    inner, outer = (itk.CompositeTransform[itk.D, 3].New() for _ in range(2))
    shifts = [turned((0, 0, 0), (n, 0, 0)) for n in range(3)]
    parts = [members(make_transform(shift, None, OBLIQUE))[0] for shift in shifts]
    inner.AddTransform(parts[1])
    inner.AddTransform(parts[2])
    outer.AddTransform(parts[0])
    outer.AddTransform(inner)
    assert [linear_of(part)[0, 3] for part in members(outer)] == [0, 1, 2]  # type: ignore[index]


def test_the_whole_transform_as_one_field_warps_alike(ddf: Tensor) -> None:
    transform = make_transform(AFFINE, 0.5 * ddf, OBLIQUE)
    voxels = np.indices(OBLIQUE.size).reshape(3, -1).T
    expected = map_points(transform, world(OBLIQUE, voxels))
    found = world(OBLIQUE, voxels + to_ddf(transform, OBLIQUE)[0].reshape(3, -1).T.double().numpy())
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("interpolation", "foreign"),
    [
        ("linear", sitk.sitkLinear),
        ("nearest", sitk.sitkNearestNeighbor),
        ("bspline", sitk.sitkBSpline),
    ],
)
def test_resampling_is_that_of_simpleitk(interpolation: str, foreign: int, ddf: Tensor, tmp_path: Path) -> None:
    transform = make_transform(AFFINE, 0.5 * ddf, OBLIQUE)
    array = np.random.default_rng(0).random((12, 10, 14)).astype(np.float32)
    affine = turned((-5, 8, 30)) @ np.diag([1.4, 1.2, 1.1, 1.0])
    affine[:3, 3] = map_points(transform, OBLIQUE.centre[None])[0] - affine[:3, :3] @ [5, 5, 7]
    found = resample(array, affine, transform, OBLIQUE, interpolation, outside=-7)
    write_transform(tmp_path / "t.h5", transform)
    fixed = to_sitk(np.zeros(OBLIQUE.size, np.float32), OBLIQUE.affine)
    read = sitk.ReadTransform(str(tmp_path / "t.h5"))
    image = sitk.Resample(to_sitk(array, affine), fixed, read, foreign, -7.0)
    expected = sitk.GetArrayFromImage(image).transpose(2, 1, 0)
    assert 0.1 < (expected == -7).mean() < 0.9
    assert (np.abs(found - expected) < 1e-3).mean() > 0.997  # a few at an edge or between two voxels turn over


def to_sitk(array: Any, affine: Any) -> sitk.Image:
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
    lps = np.diag([-1.0, -1, 1, 1]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    return image


@pytest.mark.parametrize(
    ("interpolation", "tolerance"),
    [("linear", 1e-6), ("nearest", 1e-6), ("bspline", 1e-5), ("sinc", 0.01)],  # ITK does not normalise its window
)
def test_constants_stay_constant(interpolation: str, tolerance: float) -> None:
    transform = make_transform(turned((3, 2, 5), (0.3, 0.2, 0.1)), None, OBLIQUE)
    wide = Grid((40, 40, 40), np.diag([2.0, 2, 2, 1]) @ turned((0, 0, 0), (-30, -10, 10)))
    found = resample(np.full(wide.size, 3.7), wide.affine, transform, OBLIQUE, interpolation, outside=3.7)
    np.testing.assert_allclose(found, 3.7, rtol=tolerance)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.uint32])
def test_labels_keep_their_ids_and_type(dtype: Any) -> None:
    top = np.iinfo(dtype).max
    ids = np.array([0, 1, 2035, top - 1, top]).clip(0, top).astype(dtype)  # neighbours that float32 cannot tell apart
    array = ids[np.random.default_rng(0).integers(0, len(ids), (9, 9, 9))]
    grid = Grid((9, 9, 9), np.eye(4))
    transform = make_transform(turned((0, 0, 0), (1, 0, 0)), None, grid)  # warped(x) = array(x + 1)
    found = resample(array, grid.affine, transform, grid, "nearest")
    assert found.dtype == dtype
    np.testing.assert_array_equal(found[:-1], array[1:])
    assert (found[-1] == 0).all()


def test_an_unknown_interpolation_is_refused() -> None:
    with pytest.raises(ValueError, match=r"resample\(\) 'interpolation' must be of .*, got 'cubic'"):
        resample(np.zeros((8, 8, 8)), np.eye(4), make_transform(np.eye(4), None, OBLIQUE), OBLIQUE, "cubic")


@pytest.mark.parametrize("name", ["t.nii.gz", "t", "t.dat"])
def test_other_endings_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"transform .* must end in one of \.h5, \.hdf5, \.tfm, \.txt"):
        write_transform(tmp_path / name, make_transform(AFFINE, None, OBLIQUE))


def test_what_is_no_transform_is_refused(tmp_path: Path) -> None:
    for name, content in (("a.h5", b"hello"), ("b.tfm", b"hello"), ("c.nii.gz", b""), ("d.txt", b"a b c d\n")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"transform .*{name} cannot be read"):
            read_transform(tmp_path / name)
    with pytest.raises(DataError, match="transform .*nowhere.h5 does not exist"):
        read_transform(tmp_path / "nowhere.h5")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_field_with_nan_is_refused_by_name(bad: float, ddf: Tensor, tmp_path: Path) -> None:
    """Written by SimpleITK; it would be no fold, and make every image 0 there."""
    values = np.zeros((6, 7, 8, 3))
    values[2, 3, 4] = bad
    field = sitk.GetImageFromArray(values, isVector=True)
    sitk.WriteTransform(sitk.DisplacementFieldTransform(field), str(tmp_path / "field.h5"))
    expected = r"transform .*field.h5 has 3 NaN or infinite numbers in its DisplacementFieldTransform; make it again"
    with pytest.raises(DataError, match=expected):
        read_transform(tmp_path / "field.h5")


def test_two_dimensions_are_refused(tmp_path: Path) -> None:
    sitk.WriteTransform(sitk.Euler2DTransform(), str(tmp_path / "flat.tfm"))
    with pytest.raises(DataError, match=r"must be 3-D, its \w+ is not"):
        read_transform(tmp_path / "flat.tfm")


@pytest.mark.parametrize(
    ("suffix", "size", "limit"),
    [(".h5", 8, 6000), (".tfm", 8, 6000), (".tfm", 64, 7_000_000)],  # text, where ITK notices nothing, is the longest
)
def test_a_full_disk_leaves_the_old_file(
    suffix: str, size: int, limit: int, full_disk: FullDisk, tmp_path: Path
) -> None:
    path = tmp_path / f"t{suffix}"
    write_transform(path, make_transform(AFFINE, None, OBLIQUE))
    before = path.read_bytes()
    field = torch.full((1, 3, size, size, size), 0.123456789)
    transform = make_transform(AFFINE, field, Grid((size, size, size), np.eye(4)))
    with full_disk(limit), pytest.raises(DataError, match=rf"t{suffix} cannot be written \(.*\); give a writable"):
        write_transform(path, transform)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
