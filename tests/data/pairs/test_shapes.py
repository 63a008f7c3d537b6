"""Label maps of random shapes, and pairs of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import label as components

from morphseek_monai.data import ShapePairs, random_shapes
from morphseek_monai.transforms import RandLabelImaged, RandWarpd

SIZE = (24, 28, 20)


def test_shapes_are_regions_not_noise() -> None:
    shapes = random_shapes(SIZE, 10, np.random.default_rng(0))
    assert tuple(shapes.shape) == SIZE and shapes.dtype == torch.uint8 and int(shapes.max()) <= 10
    assert len(shapes.unique()) >= 8
    count = sum(int(components(shapes.numpy() == i)[1]) for i in shapes.unique())
    assert count < 0.05 * shapes.numel()  # noise by itself makes one of every second voxel


def test_some_lie_in_empty_space() -> None:
    edges = []
    for seed in range(20):
        shapes = random_shapes(SIZE, 8, np.random.default_rng(seed))
        corners = shapes[:: SIZE[0] - 1, :: SIZE[1] - 1, :: SIZE[2] - 1]
        edges.append(not corners.any())
    assert 6 <= sum(edges) <= 18


def test_a_draw_depends_on_seed_epoch_and_index_alone() -> None:
    def dataset() -> ShapePairs:
        made = ShapePairs(SIZE, 4, pair_transform=[RandWarpd(), RandLabelImaged()], seed=3)
        made.set_epoch(2)
        return made

    one, two = dataset(), dataset()
    _ = two[0]
    assert torch.equal(one[1]["image"], two[1]["image"]) and torch.equal(one[1]["label"], two[1]["label"])
    assert not torch.equal(one[1]["label"], one[2]["label"])
    before = one[1]["label"]
    one.set_epoch(3)
    assert not torch.equal(one[1]["label"], before)


def test_items_are_pairs() -> None:
    item: dict[str, Any] = ShapePairs(SIZE, 4, labels=(3, 3))[-1]
    assert item["image"].shape == item["label"].shape == (2, *SIZE)
    assert torch.equal(item["label"][0], item["label"][1]) and not item["image"].any()
    assert item["labelled"] and item["moving_id"] and item["fixed_label"] == ""


def test_refuses() -> None:
    with pytest.raises(ValueError, match=r"ShapePairs\(\) 'length' must be positive, got 0"):
        ShapePairs(SIZE, 0)
    with pytest.raises(ValueError, match=r"'labels' must be \(low, high\) within 1..255, got \(5, 3\)"):
        ShapePairs(SIZE, 1, labels=(5, 3))
    with pytest.raises(IndexError, match="ShapePairs has 2 items, got index 2"):
        ShapePairs(SIZE, 2)[2]
