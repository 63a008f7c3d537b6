from __future__ import annotations

import pytest
from monai.transforms import Compose

from morphseek_monai.data import DataError, find_data_error


def test_is_a_value_error_of_one_line() -> None:
    error = DataError("first\n  second")
    assert isinstance(error, ValueError)
    assert str(error) == "first second"


def test_worker_traceback_shrinks_to_its_last_line() -> None:
    text = (
        "Caught DataError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
        '  File "x.py", line 1, in f\n    raise DataError("scan")\n'
        "morphseek_monai.base.errors.DataError: image a.nii.gz is empty; copy it again\n"
    )
    assert str(DataError(text)) == "image a.nii.gz is empty; copy it again"


def test_found_below_monai_compose() -> None:
    def fail(item: object) -> None:
        raise DataError("image a.nii.gz is constant")

    with pytest.raises(RuntimeError, match="applying transform") as caught:
        Compose([fail])({})
    assert str(find_data_error(caught.value)) == "image a.nii.gz is constant"


def test_other_errors_are_not_claimed() -> None:
    assert find_data_error(RuntimeError("out of memory")) is None
