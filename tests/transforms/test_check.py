from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from morphseek_monai.data import DataError
from morphseek_monai.transforms import CheckSubjectd


def scan(array: torch.Tensor, name: str) -> MetaTensor:
    return MetaTensor(array, meta={"filename_or_obj": name})


def test_image_passes_unchanged_and_label_becomes_integer() -> None:
    image = scan(torch.rand(1, 3, 4, 5), "a.nii.gz")
    label = scan(torch.randint(0, 5, (1, 3, 4, 5)).float(), "s.nii.gz")
    item = {"image": image, "label": label, "other": 1}
    result = CheckSubjectd(num_labels=5)(item)
    assert result["image"] is image and result["other"] == 1
    assert result["label"].dtype == torch.uint8 and torch.equal(result["label"], label.to(torch.uint8))
    assert result["label"].meta["filename_or_obj"] == "s.nii.gz"
    assert item["label"].dtype == torch.float32


def test_file_is_named_from_the_meta() -> None:
    image, label = torch.rand(1, 2, 2, 2), torch.full((1, 2, 2, 2), 9.0)
    with pytest.raises(DataError, match=r"^label /d/s\.nii\.gz has id 9 outside 0\.\.3"):
        CheckSubjectd(num_labels=4)(
            {"image": scan(image, "/d/a.nii.gz"), "label": scan(label, "/d/s.nii.gz")}
        )
    with pytest.raises(DataError, match=r"^image /d/a\.nii\.gz is constant"):
        CheckSubjectd()({"image": scan(image * 0, "/d/a.nii.gz")})
    with pytest.raises(DataError, match=r"^label /d/s\.nii\.gz has shape .* but image /d/a\.nii\.gz has"):
        CheckSubjectd()(
            {"image": scan(torch.rand(1, 2, 2, 3), "/d/a.nii.gz"), "label": scan(label, "/d/s.nii.gz")}
        )


def test_arrays_are_named_by_their_key() -> None:
    with pytest.raises(DataError, match="^image ct is constant"):
        CheckSubjectd(["mr", "ct"])({"mr": np.random.rand(1, 2, 2, 2), "ct": np.ones((1, 2, 2, 2))})


def test_missing_keys() -> None:
    CheckSubjectd()({"image": torch.rand(1, 2, 2, 2)})
    with pytest.raises(KeyError):
        CheckSubjectd()({})
    assert CheckSubjectd(allow_missing_keys=True)({}) == {}


def test_mask_becomes_zero_and_one_and_keeps_its_meta() -> None:
    item = {"image": torch.rand(1, 2, 2, 2), "mask": scan(255.0 * torch.eye(4).view(1, 2, 2, 4)[..., :2], "m.nii.gz")}
    result = CheckSubjectd()(item)["mask"]
    assert result.dtype == torch.uint8 and set(result.unique().tolist()) == {0, 1}
    assert result.meta["filename_or_obj"] == "m.nii.gz"


def test_mask_faults_are_named_by_file() -> None:
    image = scan(torch.rand(1, 2, 2, 2), "/d/a.nii.gz")
    with pytest.raises(DataError, match=r"^mask /d/m\.nii\.gz is empty"):
        CheckSubjectd()({"image": image, "mask": scan(torch.zeros(1, 2, 2, 2), "/d/m.nii.gz")})
    with pytest.raises(DataError, match=r"^mask /d/m\.nii\.gz has shape .* but image /d/a\.nii\.gz has"):
        CheckSubjectd()({"image": image, "mask": scan(torch.ones(1, 2, 2, 3), "/d/m.nii.gz")})
    CheckSubjectd(mask_key="roi")({"image": image, "mask": "not a mask"})
