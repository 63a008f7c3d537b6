from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import (
    Compose,
    CopyItemsd,
    RandGaussianNoised,
    RandScaleIntensityd,
    RandSmoothDeformd,
    RandZoomd,
    Transform,
)

from morphseek_monai.data import DataError, PairDataset
from morphseek_monai.transforms import PerImaged

SHAPE = (12, 10, 14)
KEYS = ("image", "label")


def item(dtype: torch.dtype = torch.uint8) -> dict[str, Any]:
    """Twice the same image: blocks of the ids 0, 3, 7, whose intensity is a tenth of the id."""
    generator = torch.Generator().manual_seed(0)
    blocks = torch.tensor([0, 3, 7])[torch.randint(0, 3, (3, 2, 2), generator=generator)]
    label = blocks.repeat_interleave(4, 0).repeat_interleave(5, 1).repeat_interleave(7, 2).expand(2, *SHAPE)
    return {"image": label / 10, "label": label.to(dtype), "fixed_id": "f", "labelled": True}


def deform(image_mode: str = "nearest", label_mode: str = "nearest") -> RandSmoothDeformd:
    return RandSmoothDeformd(
        KEYS,
        SHAPE,
        rand_size=(3, 3, 3),
        pad=1,
        field_mode="trilinear",
        align_corners=True,
        grid_align_corners=True,
        grid_mode=[image_mode, label_mode],
        def_range=0.3,
        prob=1.0,
    )


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64])
def test_moving_and_fixed_get_their_own_draws_and_labels_stay_labels(dtype: torch.dtype) -> None:
    before = item(dtype)
    after = PerImaged(deform()).set_random_state(0)(before)
    assert after["image"].shape == after["label"].shape == (2, *SHAPE)
    assert after["image"].dtype == torch.float32 and after["label"].dtype == dtype
    assert not torch.equal(after["label"][0], after["label"][1])
    assert not torch.equal(after["label"][0], before["label"][0])
    assert set(after["label"].unique().tolist()) <= {0, 3, 7}
    torch.testing.assert_close(after["image"], after["label"] / 10)  # deformed together
    assert (after["fixed_id"], after["labelled"]) == ("f", True)
    assert torch.equal(before["image"], item()["image"]) and torch.equal(before["label"], item(dtype)["label"])


def test_first_draw_is_the_moving_image() -> None:
    after = PerImaged(RandScaleIntensityd("image", factors=0.5, prob=1.0)).set_random_state(5)(item())
    single = RandScaleIntensityd("image", factors=0.5, prob=1.0).set_random_state(5)
    for channel in range(2):
        expected = single({"image": item()["image"][channel : channel + 1]})["image"]
        torch.testing.assert_close(after["image"][channel : channel + 1], torch.as_tensor(expected))
    assert not torch.equal(after["image"][0], after["image"][1])


@pytest.mark.parametrize("wrap", [lambda steps: steps, tuple, Compose])
def test_a_list_is_a_compose(wrap: Callable[[list[Any]], Any]) -> None:
    steps = [deform(), RandGaussianNoised("image", prob=1.0, std=0.1)]
    after = PerImaged(wrap(steps)).set_random_state(1)(item())
    again = PerImaged(Compose([deform(), RandGaussianNoised("image", prob=1.0, std=0.1)])).set_random_state(1)(item())
    assert all(torch.equal(after[key], again[key]) for key in KEYS)


def test_seed_and_state_reach_the_inner_transform() -> None:
    augment = PerImaged([deform()])
    first = augment.set_random_state(3)(item())["label"]
    other = augment.set_random_state(4)(item())["label"]
    assert torch.equal(first, augment.set_random_state(3)(item())["label"])
    assert not torch.equal(first, other)
    by_state = [augment.set_random_state(state=np.random.RandomState(7))(item())["label"] for _ in range(2)]
    assert torch.equal(*by_state)


def test_a_draw_belongs_to_seed_epoch_and_index() -> None:
    subjects = [{"image": torch.rand(1, *SHAPE), "label": item()["label"][:1], "id": name} for name in "abc"]

    def draw(seed: int, epoch: int, order: list[int]) -> list[torch.Tensor]:
        augment = Compose([PerImaged([deform("bilinear"), RandGaussianNoised("image", prob=1.0)])])
        dataset = PairDataset(subjects, pair_transform=augment, mode="random", length=4, seed=seed)
        dataset.set_epoch(epoch)
        items = {i: dataset[i]["image"] for i in order}
        return [items[i] for i in sorted(items)]

    first = draw(0, 1, [0, 1, 2, 3])
    for same, image in zip(draw(0, 1, [3, 1, 0, 2]), first, strict=True):
        assert torch.equal(same, image)
    for other in (draw(1, 1, [0, 1, 2, 3]), draw(0, 2, [0, 1, 2, 3])):
        assert not any(torch.equal(a, b) for a, b in zip(other, first, strict=True))


def test_plain_tensors_stay_plain_and_metatensors_keep_their_header() -> None:
    plain = PerImaged(deform()).set_random_state(0)(item())
    assert all(type(plain[key]) is torch.Tensor for key in KEYS)
    affine = torch.diag(torch.tensor([2.0, 2, 3, 1], dtype=torch.float64))
    metas = item() | {key: MetaTensor(item()[key], affine=affine) for key in KEYS}
    result = PerImaged(deform()).set_random_state(0)(metas)
    for key in KEYS:
        assert isinstance(result[key], MetaTensor) and torch.equal(result[key].affine, affine)
        assert torch.equal(result[key].as_tensor(), plain[key])


def test_inner_transform_sees_the_keys_alone_and_leaves_nothing_else() -> None:
    seen = []

    class Look(Transform):
        def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
            seen.append({key: tuple(value.shape) for key, value in data.items()})
            return data

    after = PerImaged([Look(), CopyItemsd("image", names="copy")])(item())
    assert seen == [dict.fromkeys(KEYS, (1, *SHAPE))] * 2
    assert set(after) == set(item())
    pair = item() | {"mask": torch.ones(2, *SHAPE, dtype=torch.uint8)}
    PerImaged(Look(), ("image", "label", "mask"))(pair)
    assert set(seen[-1]) == {"image", "label", "mask"}


def test_missing_keys() -> None:
    only = {"image": item()["image"]}
    assert set(PerImaged(lambda data: data, allow_missing_keys=True)(only)) == {"image"}
    with pytest.raises(KeyError, match="label"):
        PerImaged(lambda data: data)(only)


def test_interpolated_labels_are_refused() -> None:
    with pytest.raises(DataError, match=r"label 'label' after PerImaged\(\) must hold whole numbers, got .*nearest"):
        PerImaged(deform("bilinear", "bilinear")).set_random_state(0)(item())
    zoom = RandZoomd(KEYS, prob=1.0, min_zoom=1.2, max_zoom=1.3, mode=("trilinear", "nearest"))
    assert PerImaged(zoom).set_random_state(0)(item())["label"].dtype == torch.uint8


@pytest.mark.parametrize("shape", [(1, 4, 4, 4), (3, 4, 4, 4), (2, 4, 4)])
def test_a_pair_is_two_volumes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"^PerImaged\(\) 'image' must hold moving and fixed, \(2, D, H, W\), got"):
        PerImaged(lambda data: data, "image")({"image": torch.zeros(shape)})
