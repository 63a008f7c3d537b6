from __future__ import annotations

from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy.spatial.transform import Rotation
from torch import Tensor

from morphseek_monai.data import PairDataset
from morphseek_monai.transforms import RandMirrord

PAIRS = [(1, 2), (5, 4)]  # (left, right)
LEFT, RIGHT = (1, 5), (2, 4)
SHAPE = (12, 9, 10)


def affine_of(codes: str, degrees: float = 0.0) -> Tensor:
    """Voxel -> RAS mm of a grid with the given orientation, 2 x 3 x 1.5 mm, turned about the head-foot axis."""
    affine = np.zeros((4, 4))
    affine[3, 3] = 1.0
    for voxel_axis, (world_axis, sign) in enumerate(nib.orientations.axcodes2ornt(tuple(codes))):
        affine[int(world_axis), voxel_axis] = sign * (2.0, 3.0, 1.5)[voxel_axis]
    affine[:3, :3] = Rotation.from_euler("z", degrees, degrees=True).as_matrix() @ affine[:3, :3]
    affine[:3, 3] = (40.0, -7.0, 3.0)
    return torch.from_numpy(affine)


def world_x(affine: Tensor) -> Tensor:
    """Millimetres to the right of the grid's centre, of every voxel."""
    index = torch.stack(torch.meshgrid(*[torch.arange(n, dtype=torch.float64) for n in SHAPE], indexing="ij"), -1)
    centre = (torch.tensor(SHAPE, dtype=torch.float64) - 1) / 2
    return ((index - centre) @ affine[:3, :3].T)[..., 0]


def pair(affine: Tensor, dtype: torch.dtype = torch.uint8) -> dict[str, Any]:
    """Random blocks of sided labels on their own sides, id 3 anywhere; intensities are a function of the structure."""
    generator = torch.Generator().manual_seed(0)
    x = world_x(affine)
    label = torch.zeros((2, *SHAPE), dtype=torch.int64)
    for channel in label:
        draw = torch.randint(0, 4, SHAPE, generator=generator)
        for number, (left, right) in enumerate(PAIRS, start=1):
            channel[(draw == number) & (x < -2)] = left
            channel[(draw == number) & (x > 2)] = right
        channel[draw == 3] = 3
    return {"image": structure(label), "label": label.to(dtype), "affine": affine, "moving_id": "m"}


def structure(label: Tensor) -> Tensor:
    return torch.tensor([0.0, 0.3, 0.3, 0.9, 0.6, 0.6])[label.long()]


def centroid_x(label: Tensor, index: int, affine: Tensor) -> float:
    return float(world_x(affine)[label == index].mean())


@pytest.mark.parametrize(
    ("codes", "degrees"), [("RAS", 0), ("LAS", 0), ("PSR", 0), ("ILA", 0), ("RAS", 15), ("ASL", -15)]
)
def test_left_labels_are_on_the_left_afterwards(codes: str, degrees: float) -> None:
    affine = affine_of(codes, degrees)
    item = pair(affine)
    mirrored = RandMirrord(label_pairs=PAIRS, prob=1.0, axis=1)(item)  # the affine overrules the axis
    for channel in range(2):
        for index in LEFT:
            assert centroid_x(item["label"][channel], index, affine) < -1.5
            assert centroid_x(mirrored["label"][channel], index, affine) < -1.5
        for index in RIGHT:
            assert centroid_x(mirrored["label"][channel], index, affine) > 1.5
    assert not torch.equal(mirrored["image"], item["image"])
    assert torch.equal(mirrored["image"], structure(mirrored["label"]))
    assert torch.equal(mirrored["affine"], affine)


@pytest.mark.parametrize(("codes", "axis"), [("RAS", 0), ("AIL", 2), ("SLP", 1)])
def test_image_is_flipped_along_the_left_right_axis_alone(codes: str, axis: int) -> None:
    item = pair(affine_of(codes))
    mirrored = RandMirrord(label_pairs=PAIRS, prob=1.0)(item)
    assert torch.equal(mirrored["image"], item["image"].flip(axis + 1))
    without = {key: value for key, value in item.items() if key != "affine"}
    again = RandMirrord(label_pairs=PAIRS, prob=1.0, axis=axis)(without)
    assert all(torch.equal(again[key], mirrored[key]) for key in ("image", "label"))


def test_thick_slices_do_not_decide_the_axis() -> None:
    affine = affine_of("RAS", 20)
    affine[:, 1] *= 10  # 30 mm along the second axis reach further to the side than 2 mm along the first
    item = pair(affine_of("RAS")) | {"affine": affine}
    mirrored = RandMirrord(label_pairs=PAIRS, prob=1.0)(item)
    assert torch.equal(mirrored["image"], item["image"].flip(1))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64])
def test_twice_is_the_identity_and_types_stay(dtype: torch.dtype) -> None:
    mirror = RandMirrord(label_pairs=PAIRS, prob=1.0)
    item = pair(affine_of("LPS"), dtype)
    once = mirror(item)
    twice = mirror(once)
    assert once["label"].dtype == dtype and once["moving_id"] == "m"
    assert not torch.equal(once["label"], item["label"])
    assert all(torch.equal(twice[key], item[key]) for key in ("image", "label"))
    for left, right in PAIRS:
        assert (once["label"] == left).sum() == (item["label"] == right).sum()
    assert (once["label"] == 3).sum() == (item["label"] == 3).sum()


def test_ids_that_a_pair_of_images_lacks() -> None:
    label = torch.zeros(2, 2, 2, 2, dtype=torch.uint8)
    label[:, 0] = 9  # above all pairs
    item = {"image": label.float(), "label": label}
    assert torch.equal(RandMirrord(label_pairs=PAIRS, prob=1.0, axis=0)(item)["label"], label.flip(1))
    assert int(RandMirrord(label_pairs=[(20, 30)], prob=1.0, axis=0)(item)["label"].max()) == 9


def test_masks_are_flipped_but_their_ones_are_no_label() -> None:
    item = pair(affine_of("RAS"))
    item["mask"] = torch.zeros_like(item["label"])
    item["mask"][:, :3] = 1
    mirrored = RandMirrord(("image", "label", "mask"), PAIRS, prob=1.0)(item)
    assert torch.equal(mirrored["mask"], item["mask"].flip(1))
    with pytest.raises(KeyError):
        RandMirrord(("image", "label", "mask"), PAIRS, prob=1.0)(pair(affine_of("RAS")))


@pytest.mark.parametrize("pairs", [None, []])
def test_without_sides_nothing_is_mirrored(pairs: list[Any] | None) -> None:
    item = pair(affine_of("RAS"))
    result = RandMirrord(label_pairs=pairs, prob=1.0)(item)
    assert all(result[key] is item[key] for key in item)


def test_metatensors_stay() -> None:
    affine = affine_of("RAS")
    item = pair(affine)
    metas = item | {key: MetaTensor(item[key], affine=affine) for key in ("image", "label")}
    mirror = RandMirrord(label_pairs=PAIRS, prob=1.0)
    result, plain = mirror(metas), mirror(item)
    assert isinstance(result["image"], MetaTensor) and type(plain["label"]) is Tensor
    for key in ("image", "label"):
        assert torch.equal(torch.as_tensor(result[key]), plain[key])


def test_a_draw_belongs_to_seed_epoch_and_index() -> None:
    label = torch.zeros(1, 4, 4, 4, dtype=torch.uint8)
    label[:, 0], label[:, 3] = 1, 2
    subjects = [{"image": label + torch.rand(label.shape), "label": label, "id": name} for name in "ab"]

    def draws(seed: int, order: list[int]) -> list[bool]:
        mirror = RandMirrord(label_pairs=[(1, 2)], axis=0)
        dataset = PairDataset(subjects, pair_transform=mirror, mode="random", length=20, seed=seed)
        dataset.set_epoch(3)
        flipped = {i: bool(dataset[i]["image"][0, 0].mean() > dataset[i]["image"][0, 3].mean()) for i in order}
        return [flipped[i] for i in sorted(flipped)]

    first = draws(0, list(range(20)))
    assert 3 < sum(first) < 17
    assert first == draws(0, list(range(19, -1, -1))) != draws(1, list(range(20)))


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"^RandMirrord\(\) 'axis' must be 0, 1, 2 or None, got 3"):
        RandMirrord(axis=3)
    item = {key: value for key, value in pair(affine_of("RAS")).items() if key != "affine"}
    with pytest.raises(ValueError, match=r"^RandMirrord\(\) 'axis' must be the left-right axis .*; give 0, 1 or 2"):
        RandMirrord(label_pairs=PAIRS, prob=1.0)(item)
