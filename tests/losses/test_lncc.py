"""LNCC against MONAI's, on constant images and under autocast."""

from __future__ import annotations

import pytest
import torch
from monai.losses import LocalNormalizedCrossCorrelationLoss

from morphseek_monai.losses.lncc import LNCCLoss


def _smooth_images(channels: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Two related images with a flat half, where the variance floor matters."""
    noise = torch.rand(2, channels, 13, 11, 12, generator=torch.Generator().manual_seed(0))
    image = torch.nn.functional.avg_pool3d(noise, 3, stride=1, padding=1)
    image[..., 7:, :, :] = 0.0
    return image, 0.7 * image + 0.1 * noise


@pytest.mark.parametrize("kernel_size", [3, 5, 9])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("scale", [1.0, 0.01])  # at 0.01 most windows are below the floor
def test_value_and_gradient_equal_monai(kernel_size: int, channels: int, scale: float) -> None:
    """Float64, so that the two orders of summation agree far below the floor."""
    pred, target = (scale * image.double() for image in _smooth_images(channels))
    pred.requires_grad_()
    monai_loss = LocalNormalizedCrossCorrelationLoss(
        spatial_dims=3, kernel_size=kernel_size, kernel_type="rectangular"
    ).double()

    ours, theirs = LNCCLoss(kernel_size)(pred, target), monai_loss(pred, target)
    (our_grad,) = torch.autograd.grad(ours, pred)
    (their_grad,) = torch.autograd.grad(theirs, pred)

    torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(our_grad, their_grad, atol=1e-7 * their_grad.abs().max().item(), rtol=1e-7)


def test_float32_value_equals_monai() -> None:
    pred, target = _smooth_images()
    monai_loss = LocalNormalizedCrossCorrelationLoss(spatial_dims=3, kernel_size=9, kernel_type="rectangular")
    torch.testing.assert_close(LNCCLoss()(pred, target), monai_loss(pred, target), atol=1e-5, rtol=0.0)


def test_ignores_linear_intensity_changes_of_images_with_a_zero_border() -> None:
    image = torch.rand(1, 1, 12, 12, 12).mul(torch.nn.functional.pad(torch.ones(1, 1, 10, 10, 10), [1] * 6))
    loss = LNCCLoss(3)
    torch.testing.assert_close(loss(image, 5 * image), loss(image, image))
    torch.testing.assert_close(loss(image, -2 * image), loss(image, image))


@pytest.mark.parametrize("values", [(0.0, 0.0), (0.5, 0.5), (0.5, 0.2), (1000.0, 1000.0)])
def test_constant_images_do_not_look_registered(values: tuple[float, float]) -> None:
    pred, target = (torch.full((1, 1, 12, 12, 12), value) for value in values)
    pred.requires_grad_()
    loss = LNCCLoss()(pred, target)
    loss.backward()
    assert loss.item() == 0.0
    assert pred.grad is not None
    assert torch.equal(pred.grad, torch.zeros_like(pred))


def test_one_constant_image_gives_no_correlation_and_a_finite_gradient() -> None:
    pred = torch.rand(1, 1, 12, 12, 12, requires_grad=True)
    loss = LNCCLoss()(pred, torch.full((1, 1, 12, 12, 12), 0.5))
    loss.backward()
    assert loss.item() == 0.0
    assert pred.grad is not None
    assert pred.grad.isfinite().all()


def test_constant_item_does_not_silence_the_others_in_the_batch() -> None:
    pair = torch.rand(1, 1, 12, 12, 12)
    batch = torch.cat([pair, torch.full_like(pair, 0.5)])
    torch.testing.assert_close(LNCCLoss()(batch, batch), LNCCLoss()(pair, pair) / 2)


def test_flat_region_in_an_image_has_a_finite_gradient() -> None:
    pred = torch.full((1, 1, 16, 16, 16), 0.3)
    pred[..., :4, :4, :4] = torch.rand(4, 4, 4)
    pred.requires_grad_()
    LNCCLoss()(pred, pred.detach().flip(2)).backward()
    assert pred.grad is not None
    assert pred.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_lifted_under_autocast(dtype: torch.dtype) -> None:
    pred, target = (image.to(dtype) for image in _smooth_images())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = LNCCLoss()(pred, target)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, LNCCLoss()(pred.float(), target.float()), atol=0.0, rtol=0.0)


def test_gradient_passes_gradcheck() -> None:
    pred, target = (image[:1, :, :4, :5, :4].double() for image in _smooth_images())
    assert torch.autograd.gradcheck(LNCCLoss(3), (pred.requires_grad_(), target.requires_grad_()))


@pytest.mark.parametrize("kernel_size", [1, 4, -3])
def test_refuses_bad_kernel_size(kernel_size: int) -> None:
    with pytest.raises(ValueError, match=f"'kernel_size' must be odd and at least 3, got {kernel_size}"):
        LNCCLoss(kernel_size)


def test_refuses_different_shapes() -> None:
    with pytest.raises(ValueError, match=r"got \(1, 1, 4, 4, 4\) and \(1, 1, 4, 4, 5\)"):
        LNCCLoss()(torch.zeros(1, 1, 4, 4, 4), torch.zeros(1, 1, 4, 4, 5))


def _windows(pred: torch.Tensor, target: torch.Tensor, size: int) -> torch.Tensor:
    """Squared NCC of every window, written with one window after the other; zeros beyond the edge."""
    padded = [torch.nn.functional.pad(image, [size // 2] * 6)[0, 0] for image in (pred, target)]
    windows = [image.unfold(0, size, 1).unfold(1, size, 1).unfold(2, size, 1).flatten(3) for image in padded]
    p, t = (w - w.mean(dim=-1, keepdim=True) for w in windows)
    variances = ((w * w).mean(dim=-1).clamp(min=1e-5 / size**3) for w in (p, t))
    result = (p * t).mean(dim=-1) ** 2
    for variance in variances:
        result = result / variance
    return result


def test_mask_averages_over_the_windows_inside() -> None:
    pred, target = (image[:1].double() for image in _smooth_images())
    mask = torch.zeros(1, 1, 13, 11, 12, dtype=torch.uint8)
    mask[..., 2:9, 0:4, 5:] = 1
    expected = -_windows(pred, target, 5)[mask[0, 0] == 1].mean()
    torch.testing.assert_close(LNCCLoss(5)(pred, target, mask), expected)
    torch.testing.assert_close(LNCCLoss(5)(pred, target, torch.ones_like(mask)), LNCCLoss(5)(pred, target))


def test_empty_mask_gives_zero_without_gradient() -> None:
    pred, target = _smooth_images()
    pred.requires_grad_()
    loss = LNCCLoss(3)(pred, target, torch.zeros_like(target))
    loss.backward()
    assert loss.item() == 0.0
    assert pred.grad is not None and not pred.grad.any()


def test_constant_item_counts_as_unrelated_under_a_mask_too() -> None:
    pair = torch.rand(1, 1, 12, 12, 12)
    batch, ones = torch.cat([pair, torch.full_like(pair, 0.5)]), torch.ones(2, 1, 12, 12, 12)
    torch.testing.assert_close(LNCCLoss()(batch, batch, ones), LNCCLoss()(pair, pair) / 2)
