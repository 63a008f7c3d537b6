"""MIND-SSC against the formula written with one-hot convolution kernels."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from morphseek_monai.losses.mind import MINDSSCLoss


def _images() -> tuple[torch.Tensor, torch.Tensor]:
    noise = torch.rand(2, 1, 12, 11, 13, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return noise, F.avg_pool3d(noise, 3, stride=1, padding=1)


def _by_convolution(image: torch.Tensor, radius: int, dilation: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Descriptors of one volume ``(1, 1, D, H, W)``, and ``v`` before its bounds in units of its mean.

    Each pair of neighbours is a dilated kernel with a one and a minus one.
    """
    faces = [face for face in itertools.product((0, 1, 2), repeat=3) if sum(abs(c - 1) for c in face) == 1]
    pairs = [
        (a, b) for a, b in itertools.combinations(faces, 2) if math.dist(a, b) == pytest.approx(math.sqrt(2))
    ]
    kernels = torch.zeros(12, 1, 3, 3, 3, dtype=image.dtype)
    for kernel, (a, b) in zip(kernels, pairs, strict=True):
        kernel[(0, *a)], kernel[(0, *b)] = 1, -1
    difference = F.conv3d(F.pad(image, [dilation] * 6, mode="replicate"), kernels, dilation=dilation)
    edge = 2 * radius + 1
    ssd = F.avg_pool3d(F.pad(difference**2, [radius] * 6, mode="replicate"), edge, stride=1)
    excess = ssd - ssd.min(dim=1, keepdim=True).values
    variance = excess.mean(dim=1, keepdim=True)
    relative = variance / variance.mean()
    return torch.exp(-excess / (variance.mean() * relative.clamp(1e-3, 1e3))), relative


@pytest.mark.parametrize(("radius", "dilation"), [(2, 2), (1, 2), (2, 1), (1, 3)])
def test_equals_the_formula_item_by_item(radius: int, dilation: int) -> None:
    pred, target = _images()
    expected = torch.stack(
        [
            F.mse_loss(
                _by_convolution(p[None], radius, dilation)[0], _by_convolution(t[None], radius, dilation)[0]
            )
            for p, t in zip(pred, target, strict=True)
        ]
    ).mean()
    loss = MINDSSCLoss(radius, dilation)
    torch.testing.assert_close(loss(pred, target), expected)
    torch.testing.assert_close(loss(pred.float(), target.float()).double(), expected, atol=1e-5, rtol=0.0)


def test_both_bounds_of_the_variance_follow_the_formula() -> None:
    """A bright voxel in a long faint image is over 1000 times the mean, and the rest under 1/1000."""
    image = 0.1 * torch.rand(1, 1, 3, 3, 8000, dtype=torch.float64)
    image[..., 1, 1, 4000] = 100.0
    expected, relative = _by_convolution(image, 1, 1)
    assert relative.max() > 1e3
    assert relative.min() < 1e-3
    ours = MINDSSCLoss(1, 1).describe(image)
    # The order of the 12 pairs is free: compare the sets of values of each voxel.
    torch.testing.assert_close(ours.sort(dim=1).values, expected.sort(dim=1).values)


def test_is_blind_to_contrast_but_not_to_position() -> None:
    image = _images()[1]
    loss = MINDSSCLoss()
    assert loss(image, 3 - 2 * image).item() < 1e-12
    assert loss(image, image.roll(1, dims=2)).item() > 1e-2


@pytest.mark.parametrize("constant", [0.0, 0.5])
def test_constant_image_has_a_finite_value_and_gradient(constant: float) -> None:
    pred = torch.full((1, 1, 9, 9, 9), constant, requires_grad=True)
    target = _images()[0][:1, :, :9, :9, :9].float().requires_grad_()
    loss = MINDSSCLoss()(pred, target)
    loss.backward()
    assert pred.grad is not None
    assert target.grad is not None
    assert loss.isfinite()
    assert pred.grad.isfinite().all()
    assert target.grad.isfinite().all()
    assert target.grad.abs().max() > 0


def test_two_constant_images_have_loss_zero() -> None:
    constant = torch.full((1, 1, 9, 9, 9), 0.5, requires_grad=True)
    loss = MINDSSCLoss()(constant, torch.zeros(1, 1, 9, 9, 9))
    loss.backward()
    assert loss.item() == 0.0
    assert constant.grad is not None
    assert torch.equal(constant.grad, torch.zeros_like(constant))


def test_gradient_passes_gradcheck() -> None:
    pred, target = (image[:1, :, :5, :5, :5].clone().requires_grad_() for image in _images())
    assert torch.autograd.gradcheck(MINDSSCLoss(1, 1), (pred, target))


def test_stays_float32_under_autocast() -> None:
    pred, target = (image.bfloat16() for image in _images())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = MINDSSCLoss()(pred, target)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, MINDSSCLoss()(pred.float(), target.float()), atol=0.0, rtol=0.0)


@pytest.mark.parametrize("name", ["radius", "dilation"])
def test_refuses_bad_sizes(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' must be at least 1, got 0"):
        MINDSSCLoss(**{name: 0})


def test_refuses_several_channels() -> None:
    with pytest.raises(ValueError, match=r"must both be \(B, 1, D, H, W\), got \(1, 2, 8, 8, 8\)"):
        MINDSSCLoss()(torch.zeros(1, 2, 8, 8, 8), torch.zeros(1, 2, 8, 8, 8))


def _boxes(*inside: tuple[slice, ...]) -> torch.Tensor:
    masks = torch.zeros(len(inside), 1, 12, 11, 13, dtype=torch.uint8)
    for mask, box in zip(masks, inside, strict=True):
        mask[(0, *box)] = 1
    return masks


def test_mask_averages_over_the_voxels_inside_item_by_item() -> None:
    pred, target = _images()
    mask = _boxes((slice(2, 5), slice(0, 11), slice(4, 9)), (slice(0, 1), slice(3, 4), slice(12, 13)))
    expected = []
    for p, t, m in zip(pred, target, mask, strict=True):
        error = (_by_convolution(p[None], 2, 2)[0] - _by_convolution(t[None], 2, 2)[0]) ** 2
        expected.append(error[:, :, m[0] == 1].mean())
    torch.testing.assert_close(MINDSSCLoss()(pred, target, mask), torch.stack(expected).mean())


def test_mask_of_ones_is_no_mask() -> None:
    pred, target = _images()
    ones = torch.ones_like(pred, dtype=torch.uint8)
    torch.testing.assert_close(MINDSSCLoss()(pred, target, ones), MINDSSCLoss()(pred, target))


def test_empty_mask_gives_zero_without_gradient() -> None:
    pred, target = _images()
    pred.requires_grad_()
    mask = _boxes((slice(0, 0),) * 3, (slice(2, 9),) * 3)
    loss = MINDSSCLoss()(pred, target, mask)
    loss.backward()
    assert pred.grad is not None
    assert not pred.grad[0].any()
    assert pred.grad[1].isfinite().all() and pred.grad[1].any()
    torch.testing.assert_close(loss, MINDSSCLoss()(pred[1:], target[1:], mask[1:]) / 2)


def test_gradient_under_a_mask_passes_gradcheck() -> None:
    pred, target = (image[:1, :, :5, :5, :5].clone().requires_grad_() for image in _images())
    mask = torch.zeros(1, 1, 5, 5, 5)
    mask[..., 1:4, 2:, :2] = 1
    assert torch.autograd.gradcheck(lambda p, t: MINDSSCLoss(1, 1)(p, t, mask), (pred, target))


def test_refuses_a_mask_of_another_grid() -> None:
    with pytest.raises(ValueError, match=r"MINDSSCLoss\(\) 'mask' must be \(B, 1, D, H, W\) .*, got \(1, 2, 8, 8, 8\)"):
        MINDSSCLoss()(torch.rand(1, 1, 8, 8, 8), torch.rand(1, 1, 8, 8, 8), torch.ones(1, 2, 8, 8, 8))
