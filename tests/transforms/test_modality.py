from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import Compose, ScaleIntensityRange, ScaleIntensityRangePercentiles

from morphseek_monai.data import DataError
from morphseek_monai.transforms import ByModalityd

MR = {"lower": 0.0, "upper": 99.0, "b_min": 0.0, "b_max": 1.0, "clip": True}
CT = {"a_min": -175.0, "a_max": 250.0, "b_min": 0.0, "b_max": 1.0, "clip": True}
CONFIG = {
    "_target_": "morphseek_monai.transforms.ByModalityd",
    "keys": "image",
    "transforms": {
        "0000": {"_target_": "ScaleIntensityRangePercentiles", **MR},
        "0001": {"_target_": "ScaleIntensityRange", **CT},
    },
}


def image() -> MetaTensor:
    values = 2000 * torch.rand(1, 6, 6, 6, generator=torch.Generator().manual_seed(0)) - 1000
    return MetaTensor(values, affine=torch.diag(torch.tensor([2.0, 2, 3, 1])), meta={"filename_or_obj": "/d/a.nii.gz"})


def from_config() -> ByModalityd:
    transform: ByModalityd = ConfigParser({"prepare": CONFIG}).get_parsed_content("prepare")
    return transform


@pytest.mark.parametrize("modality", ["0000", "0001"])
def test_each_modality_has_its_transform(modality: str) -> None:
    expected = {"0000": ScaleIntensityRangePercentiles(**MR), "0001": ScaleIntensityRange(**CT)}[modality](image())
    item = {"image": image(), "label": image(), "modality": modality}
    for transform in (from_config(), Compose([from_config()])):
        result = transform(item)
        torch.testing.assert_close(result["image"], expected)
        assert float(result["image"].min()) == 0 and float(result["image"].max()) == 1
        assert torch.equal(result["label"], image()) and result["modality"] == modality
    assert torch.equal(item["image"], image())


def test_header_stays_with_the_image() -> None:
    result = from_config()({"image": image(), "modality": "0001"})["image"]
    assert isinstance(result, MetaTensor)
    assert torch.equal(result.affine, image().affine)
    assert result.meta["filename_or_obj"] == "/d/a.nii.gz"


@pytest.mark.parametrize(
    ("more", "found"),
    [({}, "has no modality"), ({"modality": "0002"}, "has modality '0002'"), ({"modality": ""}, "has modality ''")],
)
def test_unknown_modality_is_named_with_file_and_cure(more: dict[str, str], found: str) -> None:
    with pytest.raises(DataError, match=rf"^image /d/a\.nii\.gz .*{found}.* needs one of 0000, 0001; name it TASK"):
        from_config()({"image": image(), **more})
    with pytest.raises(DataError, match=f"^image image .*{found}"):
        from_config()({"image": np.ones((1, 2, 2, 2)), **more})


def test_other_keys() -> None:
    double: dict[str, Any] = {"x": lambda array: 2 * array}
    assert ByModalityd(["a", "b"], double, "kind")({"a": 1, "b": 2, "kind": "x"}) == {"a": 2, "b": 4, "kind": "x"}
    assert ByModalityd(["a", "b"], double, "kind", allow_missing_keys=True)({"b": 2, "kind": "x"})["b"] == 4
    with pytest.raises(KeyError):
        ByModalityd(["a", "b"], double, "kind")({"b": 2, "kind": "x"})
