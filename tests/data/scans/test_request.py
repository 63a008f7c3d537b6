from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from morphseek_monai.data import DataError
from morphseek_monai.data.scans.request import Request

WHO = "moving image a.nii.gz"


@pytest.mark.parametrize(
    ("shape", "frame", "series", "picked"),
    [
        ((4, 5, 6), None, False, (4, 5, 6)),
        ((4, 5, 6), 0, False, (4, 5, 6)),
        ((4, 5, 6, 1), None, False, (4, 5, 6)),
        ((4, 5, 6, 1, 1), None, True, (4, 5, 6)),
        ((4, 5, 1), None, False, (4, 5, 1)),  # a slice keeps its axis
        ((4, 5, 6, 7), 3, False, (4, 5, 6)),
        ((4, 5, 6, 7, 1), 3, False, (4, 5, 6)),
        ((4, 5, 6, 7), None, True, (4, 5, 6, 7)),
    ],
)
def test_what_is_taken(shape: tuple[int, ...], frame: int | None, series: bool, picked: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape)).reshape(shape)
    taken = array[Request(WHO, frame, series).select(shape)]
    assert taken.shape == picked
    if frame and len(picked) == 3:
        np.testing.assert_array_equal(taken.ravel(), array[:, :, :, frame].ravel())


@pytest.mark.parametrize(
    ("shape", "frame", "message"),
    [
        ((4, 5, 6, 120), None, r"has shape \(4, 5, 6, 120\); pick a volume with --frame \(0 to 119\)"),
        ((4, 5, 6, 120), 120, r"has 120 volume\(s\), --frame must be 0 to 119, got 120"),
        ((4, 5, 6, 120), -1, r"has 120 volume\(s\), --frame must be 0 to 119, got -1"),
        ((4, 5, 6, 120), "two", r"has 120 volume\(s\), --frame must be 0 to 119, got two"),
        ((4, 5, 6), 1, r"has 1 volume\(s\), --frame must be 0 to 0, got 1"),
        ((4, 5), None, r"is two-dimensional, its shape is \(4, 5\); give the whole volume"),
        ((4, 5, 6, 1, 3), 0, r"holds vectors or several series, its shape is \(4, 5, 6, 1, 3\), of which no frame"),
    ],
)
def test_what_is_refused(shape: tuple[int, ...], frame: Any, message: str) -> None:
    with pytest.raises(DataError, match=rf"^{WHO} {message}"):
        Request(WHO, frame).select(shape)


def test_vectors_are_no_series() -> None:
    with pytest.raises(DataError, match="holds vectors"):
        Request(WHO, series=True).select((4, 5, 6, 2, 3))
