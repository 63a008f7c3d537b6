from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from morphseek_monai.data import DataError
from morphseek_monai.transforms import SelectLabelsd


def test_listed_ids_become_contiguous_and_the_rest_background() -> None:
    label = MetaTensor(
        torch.tensor([[[[0.0, 17.0, 53.0, 2.0, 4000.0]]]]), meta={"filename_or_obj": "s.nii.gz"}
    )
    result = SelectLabelsd("label", [53, 17])({"label": label})["label"]
    assert result.flatten().tolist() == [0, 2, 1, 0, 0]
    assert result.dtype == torch.int16
    assert result.meta["filename_or_obj"] == "s.nii.gz"


def test_a_group_is_one_structure() -> None:
    result = SelectLabelsd("label", [[2, 41], [3, 42], 16])({"label": np.array([[[[2, 41, 3, 42, 16, 5]]]])})[
        "label"
    ]
    assert np.asarray(result).flatten().tolist() == [1, 1, 2, 2, 3, 0]


def test_ids_above_those_of_the_map_and_missing_keys_are_no_problem() -> None:
    select = SelectLabelsd("label", [2000], allow_missing_keys=True)
    assert int(select({"label": torch.ones(1, 2, 2, 2)})["label"].max()) == 0
    assert select({"image": 1}) == {"image": 1}


@pytest.mark.parametrize("labels", [[1, 1], [[2, 3], 3], [0], [-4]])
def test_ids_must_be_distinct_and_positive(labels: list[int]) -> None:
    with pytest.raises(ValueError, match="'labels' must be distinct ids above 0"):
        SelectLabelsd("label", labels)


def test_fractions_are_refused_by_file() -> None:
    label = MetaTensor(torch.full((1, 2, 2, 2), 0.5), meta={"filename_or_obj": "s.nii.gz"})
    with pytest.raises(DataError, match=r"label s\.nii\.gz must hold whole numbers"):
        SelectLabelsd("label", [1])({"label": label})
