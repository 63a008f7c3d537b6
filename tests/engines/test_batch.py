"""From loaders' batches to tensors, and the errors for what is not a batch of pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from torch import Tensor

from morphseek_monai.engines import prepare_pairs

MakeBatch = Callable[..., dict[str, Any]]


def test_values_arrive_as_they_are(make_batch: MakeBatch) -> None:
    batch = make_batch(3, size=8, labelled=[True, False, True])
    image, label, labelled, mask = prepare_pairs(batch, torch.device("cpu"))
    assert torch.equal(image, batch["image"])
    assert torch.equal(label, batch["label"])
    assert (label.dtype, labelled.tolist(), mask) == (torch.uint8, [True, False, True], None)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.uint8])
def test_image_becomes_float32(make_batch: MakeBatch, dtype: torch.dtype) -> None:
    batch = make_batch(size=8)
    assert prepare_pairs(batch | {"image": batch["image"].to(dtype)}).image.dtype == torch.float32


def test_metadata_is_left_behind(make_batch: MakeBatch) -> None:
    batch = make_batch(size=8)
    wrapped = batch | {name: MetaTensor(batch[name.replace("mask", "label")]) for name in ("image", "label", "mask")}
    image, label, _, mask = prepare_pairs(wrapped)
    assert type(image) is type(label) is type(mask) is Tensor


@pytest.mark.parametrize(
    ("change", "expected"), [({"labelled": None}, [True] * 2), ({"label": None}, [False] * 2)], ids=["label", "none"]
)
def test_labelled_defaults_to_whether_there_is_a_label(
    make_batch: MakeBatch, change: dict[str, Any], expected: list[bool]
) -> None:
    batch = {name: value for name, value in make_batch(2, size=8).items() if name not in change}
    _, label, labelled, _ = prepare_pairs(batch)
    assert labelled.dtype == torch.bool
    assert labelled.tolist() == expected
    assert label.any() == expected[0]
    assert label.shape == batch["image"].shape


@pytest.mark.parametrize("labelled", [[True, False], torch.tensor([1, 0]), torch.tensor([[True], [False]]).squeeze(1)])
def test_labelled_may_be_a_list_or_numbers(make_batch: MakeBatch, labelled: Any) -> None:
    assert prepare_pairs(make_batch(2, size=8) | {"labelled": labelled}).labelled.tolist() == [True, False]


@pytest.mark.parametrize("shape", [(1, 1, 8, 8, 8), (2, 8, 8, 8), (1, 2, 8, 8), (1, 3, 8, 8, 8)])
def test_refuses_what_is_no_pair(shape: tuple[int, ...]) -> None:
    message = rf"prepare_pairs\(\) 'image' must be \(B, 2, D, H, W\) .*, got \({', '.join(map(str, shape))}\); use"
    with pytest.raises(ValueError, match=message):
        prepare_pairs({"image": torch.zeros(shape)})


@pytest.mark.parametrize(
    ("label", "got"),
    [(torch.zeros(1, 2, 8, 8, 8), r"torch.float32 \(1, 2, 8, 8, 8\)"),
     (torch.zeros(1, 1, 8, 8, 8).byte(), r"torch.uint8 \(1, 1, 8, 8, 8\)"),
     (torch.zeros(1, 2, 8, 8, 9).byte(), r"torch.uint8 \(1, 2, 8, 8, 9\)")],
)  # fmt: skip
@pytest.mark.parametrize("key", ["label", "mask"])
def test_refuses_labels_and_masks_that_do_not_fit(label: Tensor, got: str, key: str) -> None:
    message = rf"'{key}' must be integer of the image's shape \(1, 2, 8, 8, 8\), got {got}"
    with pytest.raises(ValueError, match=message):
        prepare_pairs({"image": torch.zeros(1, 2, 8, 8, 8), key: label})


def test_pair_is_a_batch_of_one(make_batch: MakeBatch) -> None:
    batch = make_batch(3, size=8, labelled=[True, False, True])
    batch["mask"] = (batch["image"] > 0.1).byte()
    pairs = prepare_pairs(batch)
    for i in range(3):
        image, label, mask = pairs.pair(i)
        assert torch.equal(image, batch["image"][i : i + 1])
        assert mask is not None and torch.equal(mask, batch["mask"][i : i + 1])
        assert torch.equal(label, batch["label"][i : i + 1]) if label is not None else i == 1
    assert pairs._replace(mask=None).pair(0).mask is None
