"""SpacingOfKeysd: MONAI's Spacingd, but for the entries that only happen to be called like the key."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Spacingd

from morphseek_monai.transforms import SpacingOfKeysd


def sample() -> dict[str, Any]:
    image = torch.rand(1, 6, 7, 8, generator=torch.Generator().manual_seed(0))
    affine = torch.diag(torch.tensor([1.0, 2.0, 3.0, 1.0], dtype=torch.float64))
    return {"image": MetaTensor(image, affine=affine, meta={"filename_or_obj": "scan.nii.gz"}), "other": 5}


@pytest.mark.parametrize("options", [{}, {"diagonal": True, "mode": "nearest", "dtype": torch.float32}])
def test_same_as_monai(options: dict[str, Any]) -> None:
    theirs = Spacingd("image", pixdim=(2, 2, 2), **options)(sample())
    ours = SpacingOfKeysd("image", pixdim=(2, 2, 2), **options)(sample())
    assert torch.equal(ours["image"], theirs["image"]) and ours["other"] == 5
    assert torch.equal(ours["image"].affine, theirs["image"].affine)


def test_texts_beside_the_image_survive() -> None:
    """As MONAI Label calls it; MONAI's own fails there, and once it does not, this class can go."""
    data = sample() | {"image_path": "scan.nii.gz"}
    with pytest.raises(AttributeError, match="'str' object has no attribute 'update'"):
        Spacingd("image", pixdim=(2, 2, 2))(dict(data))
    assert SpacingOfKeysd("image", pixdim=(2, 2, 2))(data)["image_path"] == "scan.nii.gz"


def test_inverse() -> None:
    data = sample()
    original = data["image"].clone()
    transform = Compose([SpacingOfKeysd("image", pixdim=(2, 2, 2))])
    back = transform.inverse(transform(data))
    assert back["image"].shape == original.shape
    torch.testing.assert_close(back["image"].affine, original.affine)


def test_the_dictionary_is_not_changed() -> None:
    data = sample()
    before = data["image"]
    SpacingOfKeysd("image", pixdim=(2, 2, 2))(data)
    assert data["image"] is before and before.shape == (1, 6, 7, 8)


def test_a_missing_key() -> None:
    with pytest.raises(KeyError, match="scan"):
        SpacingOfKeysd("scan", pixdim=(2, 2, 2))(sample())
    assert SpacingOfKeysd("scan", pixdim=(2, 2, 2), allow_missing_keys=True)(sample())["other"] == 5
