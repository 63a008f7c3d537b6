from __future__ import annotations

from typing import Any

import itk
import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.data import MetaTensor

from morphseek_monai.data import DataError
from morphseek_monai.data.scans.scan import read_scan, read_series, same_type

VALUES = np.random.default_rng(0).integers(0, 100, (8, 9, 10)).astype(np.int16)
AFFINE = np.array([[0.6, -1.6, 0.0, 11.0], [0.8, 1.2, 0.0, -22.0], [0.0, 0.0, 3.0, 33.0], [0, 0, 0, 1]])


def itk_image(values: Any = VALUES, ttype: Any = None) -> Any:
    image = itk.image_from_array(np.ascontiguousarray(values.transpose(2, 1, 0)), ttype=ttype)
    image.SetSpacing([0.8, 1.2, 2.5])
    image.SetOrigin([10.0, -20.0, 30.0])
    image.SetDirection(itk.matrix_from_array(np.array([[0.6, -0.8, 0], [0.8, 0.6, 0], [0, 0, -1.0]])))
    return image


def meta_tensor(values: Any = VALUES, **meta: Any) -> MetaTensor:
    return MetaTensor(torch.from_numpy(np.array(values)), affine=torch.from_numpy(AFFINE), meta=meta)


# --- NiBabel ---


def test_a_nibabel_image_comes_back_as_one() -> None:
    image = nib.Nifti1Image(VALUES, AFFINE)
    image.set_sform(AFFINE, code=4)
    image.header["descrip"] = b"before"
    scan = read_scan(image)
    np.testing.assert_array_equal(scan.affine, image.affine)
    result = same_type(scan.array.astype(np.float32), scan.grid, scan)
    assert isinstance(result, nib.Nifti1Image)
    np.testing.assert_array_equal(result.affine, image.affine)
    assert int(result.header["sform_code"]) == 4
    assert bytes(result.header["descrip"].item()) == b""  # may be about another person
    assert result.get_data_dtype() == np.float32


def test_a_nibabel_image_is_neither_changed_nor_shared() -> None:
    values = VALUES.astype(np.float32)
    values[0, 0, 0] = np.nan
    image = nib.Nifti1Image(values, AFFINE.copy())
    header = image.header.copy()
    scan = read_scan(image)
    scan.array[:] = -1
    scan.affine[:] = -1
    assert np.isnan(values[0, 0, 0])
    np.testing.assert_array_equal(values.ravel()[1:], VALUES.ravel()[1:])
    np.testing.assert_array_equal(image.affine, AFFINE)
    assert image.header == header
    sound = nib.Nifti1Image(VALUES.copy(), AFFINE)
    read_scan(sound).array[:] = -1
    np.testing.assert_array_equal(np.asarray(sound.dataobj), VALUES)


@pytest.mark.parametrize(("value", "message"), [(0.0, "singular qform|spacing 0"), (np.nan, "NaN or infinity")])
def test_a_broken_affine_in_memory(value: float, message: str) -> None:
    image = nib.Nifti1Image(VALUES, AFFINE)
    image._affine = AFFINE * [1, 1, value, 1]
    with pytest.raises(DataError, match=rf"^image Nifti1Image has {message}"):
        read_scan(image)


# --- ITK ---


@pytest.mark.parametrize(
    "dtype", [np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.uint64, np.float32, np.float64]
)
def test_itk_images_of_every_type(dtype: type) -> None:
    scan = read_scan(itk_image(VALUES.astype(dtype)))
    assert scan.array.dtype == dtype
    np.testing.assert_array_equal(scan.array, VALUES)


def test_an_itk_image_comes_back_as_one_at_the_same_place() -> None:
    image = itk_image()
    scan = read_scan(image, "fixed image")
    assert scan.name == "itk.Image"
    result = same_type(scan.array.astype(np.float32), scan.grid, scan)
    assert isinstance(result, itk.Image[itk.F, 3])
    for index in ([0, 0, 0], [7, 1, 5]):
        assert result.GetPixel(index) == image.GetPixel(index)
        np.testing.assert_allclose(
            list(result.TransformIndexToPhysicalPoint(index)),
            list(image.TransformIndexToPhysicalPoint(index)),
            atol=1e-12,
        )
    x, y, z = image.TransformIndexToPhysicalPoint([7, 1, 5])
    np.testing.assert_allclose(scan.affine @ [7, 1, 5, 1], [-x, -y, z, 1], atol=1e-12)


def test_an_itk_image_is_neither_changed_nor_shared() -> None:
    image = itk_image()
    scan = read_scan(image)
    scan.array[:] = -1
    np.testing.assert_array_equal(itk.array_from_image(image).transpose(), VALUES)
    kept = read_scan(image).array
    image.FillBuffer(5)
    np.testing.assert_array_equal(kept, VALUES)


def test_the_output_of_a_filter_that_has_not_run() -> None:
    cut = itk.ExtractImageFilter[itk.Image[itk.SS, 3], itk.Image[itk.SS, 3]].New(itk_image(np.tile(VALUES, (2, 1, 1))))
    cut.SetExtractionRegion(itk.ImageRegion[3]([3, 0, 0], [8, 9, 10]))
    cut.SetDirectionCollapseToSubmatrix()
    scan = read_scan(cut.GetOutput())
    np.testing.assert_array_equal(scan.array, np.tile(VALUES, (2, 1, 1))[3:11])
    np.testing.assert_allclose(scan.affine[:, 3], read_scan(itk_image()).affine @ [3, 0, 0, 1])


def test_itk_vectors_two_dimensions_and_series() -> None:
    vectors = itk.image_from_array(np.zeros((10, 9, 8, 3), np.float32), is_vector=True)
    for frame in (None, 0):
        with pytest.raises(
            DataError, match=r"^image itk.Image holds RGB or vectors \(3 numbers per voxel\), of which no"
        ):
            read_scan(vectors, frame=frame)
    with pytest.raises(DataError, match="itk.Image is two-dimensional"):
        read_scan(itk.image_from_array(np.zeros((9, 8), np.float32)))
    series = itk.image_from_array(np.stack([VALUES.T, VALUES.T + 100]))
    np.testing.assert_array_equal(read_scan(series, frame=1).array, VALUES + 100)
    assert read_series(series).array.shape == (8, 9, 10, 2)


# --- MONAI ---


@pytest.mark.parametrize("layout", [(1, 8, 9, 10), (8, 9, 10)])
@pytest.mark.parametrize("dtype", [torch.int16, torch.float32, torch.float64, torch.uint8, torch.bfloat16])
def test_a_meta_tensor_comes_back_in_its_layout(layout: tuple[int, ...], dtype: torch.dtype) -> None:
    tensor = meta_tensor(filename_or_obj="scans/a.nii.gz").reshape(layout).to(dtype)
    scan = read_scan(tensor)
    assert scan.name == "scans/a.nii.gz"
    np.testing.assert_array_equal(scan.array, VALUES)
    np.testing.assert_array_equal(scan.affine, AFFINE)
    result = same_type(scan.array.astype(np.float32), scan.grid, scan)
    assert isinstance(result, MetaTensor) and tuple(result.shape) == layout
    assert result.meta["filename_or_obj"] == "scans/a.nii.gz"
    torch.testing.assert_close(result.affine, torch.from_numpy(AFFINE), rtol=0, atol=0)
    torch.testing.assert_close(result.as_tensor(), tensor.as_tensor().float())


def test_a_meta_tensor_is_neither_changed_nor_shared() -> None:
    tensor = meta_tensor(VALUES.astype(np.float32), spatial_shape=[1, 2], patient="Jane Doe").requires_grad_()
    with torch.no_grad():
        tensor[0, 0, 0] = np.nan
    sound = meta_tensor()
    for scan in (read_scan(tensor), read_scan(sound)):
        scan.array[:] = -1
        scan.affine[:] = -1
    np.testing.assert_array_equal(sound.numpy(), VALUES)
    assert bool(torch.isnan(tensor[0, 0, 0]))
    np.testing.assert_array_equal(tensor.affine.numpy(), AFFINE)
    scan = read_scan(tensor)
    same_type(scan.array, scan.grid, scan).meta["spatial_shape"].append(3)
    assert tensor.meta["spatial_shape"] == [1, 2]
    assert "patient" not in same_type(scan.array, scan.grid, scan).meta


def test_channels_are_frames_of_a_meta_tensor() -> None:
    series = meta_tensor(np.stack([VALUES, VALUES + 100]))
    with pytest.raises(DataError, match=r"^image MetaTensor has shape \(8, 9, 10, 2\); pick a volume with --frame"):
        read_scan(series)
    scan = read_scan(series, frame=1)
    np.testing.assert_array_equal(scan.array, VALUES + 100)
    assert tuple(same_type(scan.array, scan.grid, scan).shape) == (1, 8, 9, 10)
    np.testing.assert_array_equal(read_series(series).array[..., 1], VALUES + 100)
    with pytest.raises(DataError, match=r"must be \(X, Y, Z\) or \(1, X, Y, Z\), got \(1, 1, 8, 9, 10\)"):
        read_scan(meta_tensor(VALUES[None, None]))


def test_a_meta_tensor_that_counts_in_lps() -> None:
    lps = meta_tensor(space="LPS")
    scan = read_scan(lps)
    np.testing.assert_array_equal(scan.affine, np.diag([-1, -1, 1, 1]) @ AFFINE)
    result = same_type(scan.array, scan.grid, scan)
    assert result.meta["space"] == "LPS"
    np.testing.assert_array_equal(result.affine.numpy(), AFFINE)


def test_meta_data_of_another_grid_are_not_passed_on() -> None:
    scan = read_scan(meta_tensor(original_affine=AFFINE, spatial_shape=(8, 9, 10)))
    other = scan.grid._replace(affine=np.eye(4))
    result = same_type(scan.array, other, scan)
    assert "original_affine" not in result.meta
    np.testing.assert_array_equal(result.affine.numpy(), np.eye(4))


# --- all of them ---


@pytest.mark.parametrize("make", [lambda values: nib.Nifti1Image(values, AFFINE), itk_image, meta_tensor])
def test_faults_of_values_are_found_in_memory_too(make: Any) -> None:
    values = VALUES.astype(np.float32)
    values[3, 4, 5] = np.inf
    (notice,) = read_scan(make(values), "moving image").notices
    assert notice.startswith("moving image ") and "1 NaN or infinite voxels lie outside of it" in notice
    with pytest.raises(DataError, match=r"^moving image \S+ is constant \(3 everywhere\)"):
        read_scan(make(np.full_like(values, 3)), "moving image")
    with pytest.raises(DataError, match="is a single slice"):
        read_scan(make(values[:, :, :1]))


@pytest.mark.parametrize("source", [VALUES, torch.zeros(8, 8, 8), None, sitk.Image(8, 8, 8, sitk.sitkUInt8)])
def test_other_types(source: Any) -> None:
    with pytest.raises(
        TypeError, match=r"read_scan\(\) 'source' must be a path, .*, got .*; give an array as MetaTensor"
    ):
        read_scan(source)
