from __future__ import annotations

import itk
import numpy as np
import pytest

from morphseek_monai.space.itk_image import from_itk, itk_affine, to_itk

OBLIQUE = np.array([[0.0, -1.9, 0.0, 12.0], [1.2, 0.0, 0.0, -7.0], [0.0, 0.0, 2.9, 90.0], [0, 0, 0, 1]])
SHEARED = np.array([[1.0, 0.3, 0.0, 5.0], [0.0, 1.5, 0.1, -7.0], [0.0, 0.0, 2.0, 3.0], [0, 0, 0, 1]])
VALUES = np.arange(4 * 5 * 6).reshape(4, 5, 6)


@pytest.mark.parametrize("affine", [OBLIQUE, SHEARED])
def test_itk_puts_a_voxel_where_the_affine_does(affine: np.ndarray) -> None:
    image = to_itk(VALUES.astype(np.int16), affine)
    index = (3, 1, 4)
    assert image.GetPixel(list(index)) == VALUES[index]
    ras = affine @ [*index, 1]
    lps = list(image.TransformIndexToPhysicalPoint(list(index)))
    np.testing.assert_allclose(lps, [-ras[0], -ras[1], ras[2]], atol=1e-9)


@pytest.mark.parametrize("affine", [OBLIQUE, SHEARED])
def test_there_and_back(affine: np.ndarray) -> None:
    image = to_itk(VALUES.astype(np.float32), affine)
    np.testing.assert_array_equal(from_itk(image), VALUES)
    np.testing.assert_allclose(itk_affine(image), affine, atol=1e-12)


def test_the_array_of_a_cut_out_region_starts_at_its_index() -> None:
    image = to_itk(VALUES.astype(np.int16), OBLIQUE)
    region = itk.ImageRegion[3]([1, 2, 3], [2, 2, 2])
    cut = itk.extract_image_filter(image, extraction_region=region, direction_collapse_to_strategy=1)
    assert list(cut.GetLargestPossibleRegion().GetIndex()) == [1, 2, 3]
    np.testing.assert_array_equal(from_itk(cut), VALUES[1:3, 2:4, 3:5])
    np.testing.assert_allclose(itk_affine(cut)[:, 3], OBLIQUE @ [1, 2, 3, 1])


def test_copies_share_no_memory() -> None:
    array = VALUES.astype(np.float32)
    image = to_itk(array, OBLIQUE)
    from_itk(image)[:] = -1
    array[:] = -2
    np.testing.assert_array_equal(from_itk(image), VALUES)


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [(bool, np.uint8), (np.int8, np.int16), (np.int64, np.int32), (np.float16, np.float32), (np.uint64, np.uint64)],
)
def test_types_that_itk_lacks_are_widened(dtype: type, stored: type) -> None:
    values = (VALUES % 2).astype(dtype)
    array = from_itk(to_itk(values, OBLIQUE))
    assert array.dtype == stored
    np.testing.assert_array_equal(array, values)


def test_ids_beyond_32_bit_become_double() -> None:
    values = VALUES.astype(np.int64) + (1 << 40)
    np.testing.assert_array_equal(from_itk(to_itk(values, OBLIQUE)), values.astype(np.float64))


def test_time_steps_keep_their_order() -> None:
    values = np.random.default_rng(0).random((4, 5, 6, 3)).astype(np.float32)
    image = to_itk(values, SHEARED)
    assert image.GetImageDimension() == 4
    assert image.GetPixel([1, 2, 3, 2]) == values[1, 2, 3, 2]
    np.testing.assert_array_equal(from_itk(image), values)
    np.testing.assert_allclose(itk_affine(image), SHEARED, atol=1e-12)
