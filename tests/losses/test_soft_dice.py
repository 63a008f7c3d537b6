"""Soft Dice against a warped one-hot volume, and its cost."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from morphseek_monai.fields import warp
from morphseek_monai.losses.soft_dice import SoftDiceLoss

SIZE = (7, 8, 9)


def _labels(num_labels: int, batch: int = 1, seed: int = 0, dtype: torch.dtype = torch.uint8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, num_labels, (batch, 1, *SIZE), generator=generator).to(dtype)


def _ddf(batch: int = 1, scale: float = 3.0, seed: int = 0) -> torch.Tensor:
    """A rough field; with scale 3 a good part of the samples lies outside the image."""
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(batch, 3, *SIZE, generator=generator)).requires_grad_()


def _one_hot_loss(
    ddf: torch.Tensor, moving: torch.Tensor, fixed: torch.Tensor, num_labels: int
) -> torch.Tensor:
    """The definition, with every label as a channel."""

    def one_hot(label: torch.Tensor) -> torch.Tensor:
        return F.one_hot(label[:, 0].long(), num_labels).permute(0, 4, 1, 2, 3)[:, 1:].to(ddf.dtype)

    fixed_channels, moving_channels = one_hot(fixed), one_hot(moving)
    warped = warp(moving_channels, ddf, padding="zeros")
    losses = []
    for item in range(len(ddf)):
        f, w = fixed_channels[item % len(fixed)], warped[item]
        present = (f.sum((1, 2, 3)) > 0) & (moving_channels[item % len(moving)].sum((1, 2, 3)) > 0)
        dice = 2 * (f * w).sum((1, 2, 3)) / (f.sum((1, 2, 3)) + w.sum((1, 2, 3)))
        losses.append(1 - dice[present].mean())
    return torch.stack(losses).mean()


@pytest.mark.parametrize("num_labels", [2, 5, 36])
@pytest.mark.parametrize("scale", [0.4, 3.0])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64])
def test_value_and_gradient_equal_the_warped_one_hot_volume(
    num_labels: int, scale: float, dtype: torch.dtype
) -> None:
    moving, fixed = _labels(num_labels, 2, seed=1, dtype=dtype), _labels(num_labels, 2, seed=2, dtype=dtype)
    ddf = _ddf(2, scale)
    loss, expected = (
        SoftDiceLoss(num_labels)(ddf, moving, fixed),
        _one_hot_loss(ddf, moving, fixed, num_labels),
    )
    (grad,), (expected_grad,) = torch.autograd.grad(loss, ddf), torch.autograd.grad(expected, ddf)
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=0.0)
    torch.testing.assert_close(grad, expected_grad, atol=1e-5 * expected_grad.abs().max().item(), rtol=1e-4)


def test_labels_are_shared_by_a_batch_of_fields() -> None:
    moving, fixed, ddf = _labels(4, seed=1), _labels(4, seed=2), _ddf(3)
    singles = [SoftDiceLoss(4)(ddf[i : i + 1], moving, fixed) for i in range(3)]
    torch.testing.assert_close(SoftDiceLoss(4)(ddf, moving, fixed), torch.stack(singles).mean())


def test_labels_absent_on_either_side_do_not_count() -> None:
    moving, fixed, ddf = _labels(4, seed=1), _labels(4, seed=2), _ddf(scale=0.5)
    moving[moving == 1] = 0
    fixed[fixed == 2] = 0
    loss = SoftDiceLoss(6)(ddf, moving, fixed)
    torch.testing.assert_close(loss, _one_hot_loss(ddf, moving, fixed, 6))
    only_three = SoftDiceLoss(2)(ddf, (moving == 3).byte(), (fixed == 3).byte())
    torch.testing.assert_close(loss, only_three)


def test_no_common_label_gives_zero_and_zero_gradient() -> None:
    moving, fixed = _labels(2, 2, seed=1), _labels(2, 2, seed=2)
    moving[0] = 0
    ddf = _ddf(2)
    loss = SoftDiceLoss(2)(ddf, moving, fixed)
    loss.backward()
    assert ddf.grad is not None
    assert torch.equal(ddf.grad[0], torch.zeros_like(ddf.grad[0]))
    torch.testing.assert_close(loss, SoftDiceLoss(2)(ddf[1:], moving[1:], fixed[1:]) / 2)

    unlabelled = SoftDiceLoss(2)(ddf, torch.zeros_like(moving), fixed)
    (grad,) = torch.autograd.grad(unlabelled, ddf)
    assert unlabelled.item() == 0.0
    assert torch.equal(grad, torch.zeros_like(grad))


def test_gradcheck() -> None:
    """Away from integer coordinates, where the interpolation has a kink; inside and outside the image."""
    generator = torch.Generator().manual_seed(3)
    whole = torch.randint(-3, 4, (1, 3, 3, 3, 3), generator=generator)
    fraction = 0.2 + 0.6 * torch.rand(1, 3, 3, 3, 3, generator=generator, dtype=torch.float64)
    ddf = (whole + fraction).requires_grad_()
    moving, fixed = (torch.randint(0, 3, (1, 1, 3, 3, 3), generator=generator) for _ in range(2))
    assert torch.autograd.gradcheck(lambda field: SoftDiceLoss(3)(field, moving, fixed), (ddf,))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e20])
def test_broken_field_reaches_the_loss_instead_of_crashing(bad: float) -> None:
    moving, fixed, ddf = _labels(3, seed=1), _labels(3, seed=2), _ddf(scale=0.3).detach()
    ddf[0, 1, 3, 3, 3] = bad
    ddf.requires_grad_()
    loss = SoftDiceLoss(3)(ddf, moving, fixed)
    loss.backward()
    assert loss.isnan() == (bad != bad)  # infinitely far away is merely outside


class _LargestOutput(TorchDispatchMode):
    """Sums and bounds the elements that all operations return."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0
        self.total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, torch.Tensor):
                self.largest = max(self.largest, tensor.numel())
                self.total += tensor.numel()
        return out


def _work(num_labels: int) -> tuple[int, int, int]:
    """Elements saved for backward, largest output and sum of outputs over forward and backward."""
    size = (16, 64, 64)  # so many voxels that tables per label and slice do not show
    generator = torch.Generator().manual_seed(0)
    moving, fixed = (torch.randint(0, 4, (1, 1, *size), generator=generator).byte() for _ in range(2))
    ddf = torch.randn(1, 3, *size, generator=generator).requires_grad_()
    saved = 0

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal saved
        saved += tensor.numel()
        return tensor

    with _LargestOutput() as outputs:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = SoftDiceLoss(num_labels)(ddf, moving, fixed)
        loss.backward()
    return saved, outputs.largest, outputs.total


def test_cost_does_not_depend_on_the_number_of_labels() -> None:
    few_saved, few_largest, few_total = _work(4)
    many_saved, many_largest, many_total = _work(64)
    voxels = 16 * 64 * 64
    assert many_largest == few_largest <= 4 * voxels  # the field itself, with some padding; no one-hot volume
    assert many_saved <= few_saved + 0.02 * voxels
    assert few_saved <= 6 * voxels  # field and two label maps
    assert many_total <= 1.1 * few_total


def test_float32_under_autocast() -> None:
    moving, fixed, ddf = _labels(3, seed=1), _labels(3, seed=2), _ddf().detach().bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = SoftDiceLoss(3)(ddf, moving, fixed)
    torch.testing.assert_close(loss, SoftDiceLoss(3)(ddf.float(), moving, fixed), atol=0.0, rtol=0.0)


def test_inputs_are_not_changed() -> None:
    moving, fixed, ddf = _labels(3, seed=1), _labels(3, seed=2), _ddf()
    before = [tensor.clone() for tensor in (moving, fixed, ddf.detach())]
    SoftDiceLoss(3)(ddf, moving, fixed).backward()
    for tensor, copy in zip((moving, fixed, ddf), before, strict=True):
        assert torch.equal(tensor, copy)


@pytest.mark.parametrize("name", ["moving_label", "fixed_label"])
def test_refuses_labels_out_of_range(name: str) -> None:
    labels = {"moving_label": _labels(3), "fixed_label": _labels(3)}
    labels[name][0, 0, 0, 0, 0] = 7
    with pytest.raises(ValueError, match=rf"'{name}' must hold labels in 0..2, got 0..7"):
        SoftDiceLoss(3)(_ddf(), **labels)


def test_refuses_float_labels() -> None:
    with pytest.raises(TypeError, match="'fixed_label' must hold integers, got torch.float32"):
        SoftDiceLoss(3)(_ddf(), _labels(3), _labels(3).float())


def test_refuses_labels_on_another_grid() -> None:
    with pytest.raises(ValueError, match=r"SoftDiceLoss\(\) 'moving_label' must lie on the grid of 'ddf'"):
        SoftDiceLoss(3)(_ddf(), _labels(3)[..., :-1], _labels(3))


def test_refuses_one_label() -> None:
    with pytest.raises(ValueError, match="'num_labels' must be at least 2, got 1"):
        SoftDiceLoss(1)
