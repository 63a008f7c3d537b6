"""Hard Dice against MONAI's one-hot Dice, and Learn2Reg's rule for absent labels."""

from __future__ import annotations

import pytest
import torch
from monai.metrics import compute_dice
from monai.networks import one_hot

from morphseek_monai.metrics import hard_dice


def _labels(num_labels: int, batch: int = 1, seed: int = 0, dtype: torch.dtype = torch.uint8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, num_labels, (batch, 1, 9, 8, 10), generator=generator).to(dtype)


@pytest.mark.parametrize("num_labels", [2, 5, 36, 300])
@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.int64])
def test_equals_monai_one_hot_dice(num_labels: int, dtype: torch.dtype) -> None:
    fixed, warped = _labels(num_labels, 3, seed=1, dtype=dtype), _labels(num_labels, 3, seed=2, dtype=dtype)
    expected = compute_dice(one_hot(warped, num_labels), one_hot(fixed, num_labels), include_background=False)
    torch.testing.assert_close(hard_dice(fixed, warped, num_labels), expected, equal_nan=True)


def test_uint8_codes_do_not_overflow() -> None:
    fixed, warped = _labels(200, seed=1), _labels(200, seed=2)
    torch.testing.assert_close(
        hard_dice(fixed, warped, 200), hard_dice(fixed.long(), warped.long(), 200), equal_nan=True
    )


def test_absent_labels_are_nan_and_lost_labels_zero() -> None:
    fixed = torch.tensor([0, 1, 1, 2, 3, 0]).view(1, 1, 1, 1, 6)
    moving = torch.tensor([4, 1, 1, 3, 0, 0]).view(1, 1, 1, 1, 6)
    warped = torch.tensor([4, 1, 0, 0, 0, 0]).view(1, 1, 1, 1, 6)
    dice = hard_dice(fixed, warped, 6, moving=moving)
    # 1: 2 * 1 / (2 + 1); 2: not in moving; 3: in both, lost by the warp; 4: not in fixed; 5: nowhere
    torch.testing.assert_close(
        dice, torch.tensor([[2 / 3, torch.nan, 0.0, torch.nan, torch.nan]]), equal_nan=True
    )
    assert dice.dtype == torch.float32


def test_without_moving_only_fixed_decides() -> None:
    fixed = torch.tensor([1, 2]).view(1, 1, 1, 1, 2)
    warped = torch.tensor([1, 3]).view(1, 1, 1, 1, 2)
    torch.testing.assert_close(
        hard_dice(fixed, warped, 4), torch.tensor([[1.0, 0.0, torch.nan]]), equal_nan=True
    )


def test_pairs_are_independent_and_fixed_is_shared() -> None:
    fixed, moving, warped = _labels(5, seed=1), _labels(5, seed=2), _labels(5, 4, seed=3)
    together = hard_dice(fixed, warped, 5, moving=moving)
    apart = torch.cat([hard_dice(fixed, item[None], 5, moving=moving) for item in warped])
    assert torch.equal(together, apart)
    order = torch.tensor([2, 0, 3, 1])
    assert torch.equal(hard_dice(fixed, warped[order], 5, moving=moving), together[order])


@pytest.mark.parametrize("name", ["fixed", "warped", "moving"])
@pytest.mark.parametrize(("value", "found"), [(9, "0..9"), (-1, "-1..4")])
def test_refuses_labels_out_of_range(name: str, value: int, found: str) -> None:
    labels = {key: _labels(5, dtype=torch.int16) for key in ("fixed", "warped", "moving")}
    labels[name][0, 0, 0, 0, 0] = value
    with pytest.raises(
        ValueError, match=rf"hard_dice\(\) '{name}' must hold labels in 0..4, got {found}; map them"
    ):
        hard_dice(num_labels=5, **labels)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool])
def test_refuses_other_types(dtype: torch.dtype) -> None:
    with pytest.raises(TypeError, match=f"'warped' must hold integers, got {dtype}"):
        hard_dice(_labels(2), _labels(2).to(dtype), 2)


def test_refuses_other_shapes() -> None:
    with pytest.raises(ValueError, match="'fixed' and 'warped' must have the same grid"):
        hard_dice(_labels(3), _labels(3)[..., 1:], 3)
    with pytest.raises(ValueError, match="'fixed' must have batch 1 or 3, got 2"):
        hard_dice(_labels(3, 2), _labels(3, 3), 3)
    with pytest.raises(ValueError, match=r"'fixed' must be \(B, 1, D, H, W\), got \(9, 8, 10\)"):
        hard_dice(_labels(3)[0, 0], _labels(3), 3)
