from __future__ import annotations

import numpy as np
import pytest

from morphseek_monai.data import DataError
from morphseek_monai.data.scans.cleaning import check_affine, check_size, clean_ids, clean_values, plain_dtype

WHO = "moving image a.nii.gz"
ROTATED = np.array([[0.6, -1.6, 0.0, 1.0], [0.8, 1.2, 0.0, 2.0], [0.0, 0.0, 3.0, 3.0], [0, 0, 0, 1]])


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((256, 256, 1), r"is a single slice, its shape is \(256, 256, 1\); 2-D registration is not supported"),
        ((1, 64, 64), "is a single slice"),
        ((64, 7, 64), r"must have at least 8 voxels along each axis, got \(64, 7, 64\)"),
    ],
)
def test_thin_volumes(size: tuple[int, ...], message: str) -> None:
    check_size((8, 8, 8), WHO)
    with pytest.raises(DataError, match=f"^{WHO} {message}"):
        check_size(size, WHO)


def test_a_rotation_is_no_shear() -> None:
    assert check_affine(ROTATED, WHO) == ()
    assert check_affine(ROTATED.astype(np.float32).astype(float), WHO) == ()


@pytest.mark.parametrize(("i", "j", "axes"), [(0, 1, "first and second"), (1, 2, "second and third")])
def test_the_shear_is_named(i: int, j: int, axes: str) -> None:
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[i, j] = 2 * np.tan(np.radians(5))
    (notice,) = check_affine(affine, WHO)
    assert notice.startswith(f"{WHO}: its {axes} axis are 85.0 degrees apart")


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        ((0, 0), np.nan, "has NaN or infinity in its sform"),
        ((1, 3), np.inf, "has NaN or infinity in its sform"),
        ((2, 2), 0.0, "has spacing 0 along its third axis in its sform; repair the header"),
    ],
)
def test_an_affine_that_places_nothing(where: tuple[int, int], value: float, message: str) -> None:
    affine = np.eye(4)
    affine[where] = value
    with pytest.raises(DataError, match=message):
        check_affine(affine, WHO, "sform")


def test_axes_in_one_plane_are_singular_at_any_scale() -> None:
    affine = np.eye(4)
    affine[:3, 2] = [1, 1, 0]
    with pytest.raises(DataError, match="has a singular affine: its three axes lie in one plane"):
        check_affine(affine * [1e-3, 1e-3, 1e-3, 1], WHO)
    assert check_affine(np.diag([1e-3, 1e-3, 1e-3, 1]), WHO) == ()
    with pytest.raises(DataError, match=r"must have a 4 x 4 affine, got shape \(3, 3\)"):
        check_affine(np.eye(3), WHO)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_voxels_that_are_no_numbers_become_background(bad: float, dtype: type) -> None:
    array = np.linspace(-3, 5, 27, dtype=dtype).reshape(3, 3, 3)
    array[1, 1, 1] = array[2, 2, 2] = bad
    before = array.copy()
    cleaned, missing, (notice,) = clean_values(array, WHO)
    np.testing.assert_array_equal(array, before)  # the source's own
    assert cleaned.dtype == dtype
    assert cleaned[1, 1, 1] == cleaned[2, 2, 2] == -3
    assert np.count_nonzero(cleaned != array) == 2
    assert missing is not None and missing.sum() == 2 and missing[1, 1, 1] and missing[2, 2, 2]
    assert notice == f"{WHO}: 2 NaN or infinite voxels lie outside of it"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_no_number_in_a_label_map_is_background(bad: float) -> None:
    array = np.array([3, 0.99998, 7.0, bad, bad], np.float32)
    cleaned = clean_ids(array, WHO)
    assert cleaned is not None and cleaned.array.dtype == np.float32 and cleaned.array.tolist() == [3, 1, 7, 0, 0]
    assert cleaned.notices == (
        f"{WHO}: 2 NaN or infinite voxels are background, 0",
        f"{WHO}: ids up to 2e-05 off whole numbers, as a slope leaves them; rounded",
    )
    assert clean_ids(np.array([0.5, bad]), WHO) is None


def test_a_sound_array_is_not_copied() -> None:
    array = np.arange(27.0).reshape(3, 3, 3)
    assert clean_values(array, WHO)[0] is array
    assert plain_dtype(array, WHO) is array


def test_nothing_finite_and_nothing_but_one_value() -> None:
    with pytest.raises(DataError, match="has only NaN or infinite voxels"):
        clean_values(np.full((3, 3, 3), np.nan), WHO, constant=True)
    with pytest.raises(DataError, match=rf"^{WHO} is constant \(7 everywhere\)"):
        clean_values(np.full((3, 3, 3), 7), WHO)
    with pytest.raises(DataError, match=r"is constant \(7 everywhere\)"):
        clean_values(np.array([7, np.nan, 7]), WHO)
    assert clean_values(np.full((3, 3, 3), 7), WHO, constant=True).notices == ()


@pytest.mark.parametrize(
    ("dtype", "plain"),
    [(">i2", np.int16), (">f8", np.float64), ("u1", np.uint8), ("f2", np.float32), ("?", np.uint8), ("i8", np.int64)],
)
def test_types(dtype: str, plain: type) -> None:
    values = np.array([0, 1, 1]).astype(dtype)
    array = plain_dtype(values, WHO)
    assert array.dtype == plain and array.dtype.isnative
    np.testing.assert_array_equal(array, [0, 1, 1])


@pytest.mark.parametrize(("dtype", "what"), [("c8", "values of type complex64"), ("u1, u1, u1", "RGB or vectors")])
def test_no_number(dtype: str, what: str) -> None:
    with pytest.raises(DataError, match=f"holds {what}, of which no frame can be picked; give an image of one real"):
        plain_dtype(np.zeros(3, dtype), WHO)
