"""Thick slices."""

from __future__ import annotations

import pytest
import torch

from morphseek_monai.transforms import RandThickSlicesd


def noise() -> torch.Tensor:
    return torch.rand((1, 24, 24, 24), generator=torch.Generator().manual_seed(0))


def roughness(image: torch.Tensor) -> list[float]:
    """Mean squared difference of neighbours along each axis."""
    return [float(image.diff(dim=axis).square().mean()) for axis in (1, 2, 3)]


def test_one_axis_is_coarse_and_each_has_its_turn() -> None:
    before, coarse = roughness(noise()), set()
    for seed in range(12):
        after = roughness(RandThickSlicesd("image", prob=1.0).set_random_state(seed)({"image": noise()})["image"])
        kept = sorted((after[i] / before[i], i) for i in range(3))
        coarse.add(kept[0][1])
        assert kept[0][0] < 0.4 * kept[1][0] and kept[2][0] < 1.5 * kept[1][0]
    assert coarse == {0, 1, 2}


def test_a_slab_is_its_mean_and_nothing_shifts() -> None:
    ramp = torch.arange(24.0)
    image = (ramp[:, None, None] + ramp[:, None] + ramp)[None] / 69
    after = RandThickSlicesd("image", prob=1.0, factor=(3, 3)).set_random_state(1)({"image": image})["image"]
    inner = (slice(None), slice(2, -2), slice(2, -2), slice(2, -2))
    torch.testing.assert_close(after[inner], image[inner])  # means of slabs, interpolated: a ramp again


def test_labels_stay() -> None:
    item = {"image": noise(), "label": noise() > 0.5}
    assert torch.equal(RandThickSlicesd("image", prob=1.0)(item)["label"], item["label"])


def test_refuses() -> None:
    with pytest.raises(ValueError, match=r"'factor' must be \(low, high\), at least 1, got \(0.5, 2\)"):
        RandThickSlicesd("image", factor=(0.5, 2))
