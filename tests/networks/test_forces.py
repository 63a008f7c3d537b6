"""Forces: against autograd, and what their direction promises."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from morphseek_monai.fields import warp
from morphseek_monai.losses import LNCCLoss, MINDSSCLoss
from morphseek_monai.networks.forces import correlation_forces, descriptor_forces


def smooth(seed: int, n: int = 20) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand((1, 1, n, n, n), generator=generator)
    return torch.nn.functional.avg_pool3d(noise, 3, stride=1, padding=1) * 4


def shifted(image: Tensor, axis: int, voxels: float) -> Tensor:
    ddf = torch.zeros(1, 3, *image.shape[2:])
    ddf[:, axis] = voxels
    return warp(image, ddf)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_points_where_the_moving_image_must_be_sampled(axis: int, sign: float) -> None:
    """fixed(x) = moving(x + u): the force has the direction of u, along the right axis."""
    moving = smooth(0)
    force = correlation_forces(moving, shifted(moving, axis, 0.5 * sign))[0, :, 4:-4, 4:-4, 4:-4]
    mean = force.mean(dim=(1, 2, 3))
    assert sign * mean[axis] > 0.3
    assert mean.abs().sum() < 1.2 * mean[axis].abs()


def test_goes_up_the_correlation() -> None:
    """A small step along the forces raises the local correlation, the opposite step lowers it."""
    moving, fixed = smooth(0), smooth(1)
    force = correlation_forces(moving, fixed)
    lncc = LNCCLoss(kernel_size=5)
    here, up, down = (float(lncc(warp(moving, step * force), fixed)) for step in (0.0, 0.02, -0.02))
    assert up < here < down


def test_is_aligned_with_the_exact_gradient() -> None:
    moving, fixed = smooth(2), smooth(3)
    ddf = torch.zeros(1, 3, *moving.shape[2:], requires_grad=True)
    LNCCLoss(kernel_size=5)(warp(moving, ddf), fixed).backward()
    assert ddf.grad is not None
    inner = (slice(None), slice(None), slice(3, -3), slice(3, -3), slice(3, -3))
    cosine = torch.cosine_similarity(
        -ddf.grad[inner].flatten(), correlation_forces(moving, fixed)[inner].flatten(), dim=0
    )
    assert cosine > 0.4  # the exact one adds what a voxel does to its neighbours' windows; one wrong axis gives 0.3


def test_does_not_depend_on_contrast() -> None:
    moving, fixed = smooth(0), smooth(1)
    force = correlation_forces(moving, fixed)
    other = correlation_forces(0.6 * moving + 0.2, 1.0 - 0.7 * fixed)
    assert torch.cosine_similarity(force.flatten(), other.flatten(), dim=0) > 0.99
    torch.testing.assert_close(other.square().mean(), torch.ones(()), atol=0.01, rtol=0)


def test_equal_and_constant_images_give_none() -> None:
    moving = smooth(0)
    assert correlation_forces(moving, torch.full_like(moving, 0.3)).abs().max() < 1e-2
    assert correlation_forces(torch.zeros_like(moving), moving).abs().max() == 0
    assert torch.isfinite(correlation_forces(moving, moving)).all()


def test_pairs_of_a_batch_do_not_mix() -> None:
    moving, fixed = torch.cat([smooth(0), 3 * smooth(1)]), torch.cat([smooth(2), smooth(3)])
    together = correlation_forces(moving, fixed)
    torch.testing.assert_close(together[1:], correlation_forces(moving[1:], fixed[1:]))


@pytest.mark.parametrize("window", [1, 4])
def test_refuses_windows(window: int) -> None:
    with pytest.raises(ValueError, match=rf"correlation_forces\(\) 'window' must be odd and at least 3, got {window}"):
        correlation_forces(smooth(0), smooth(1), window)


def ordered_anew(image: Tensor) -> Tensor:
    """Another modality: what lies in the middle of the range is now brightest."""
    low, high = image.amin(), image.amax()
    return 1 - (2 * (image - low) / (high - low) - 1).square()


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_descriptors_point_the_way_between_modalities(axis: int, sign: float) -> None:
    moving = smooth(0)
    force = descriptor_forces(moving, ordered_anew(shifted(moving, axis, sign)))[0, :, 5:-5, 5:-5, 5:-5]
    mean = force.mean(dim=(1, 2, 3))
    assert sign * mean[axis] > 0.1
    assert mean.abs().sum() < 1.5 * mean[axis].abs()


def test_descriptors_go_down_their_difference() -> None:
    moving = smooth(0)
    fixed = ordered_anew(shifted(shifted(moving, 0, 0.7), 2, -0.5))
    force = descriptor_forces(moving, fixed)
    mind = MINDSSCLoss(radius=1, dilation=2)
    here, down, up = (float(mind(warp(moving, step * force), fixed)) for step in (0.0, 0.1, -0.1))
    assert down < here < up


def test_descriptors_do_not_see_an_inversion() -> None:
    moving, fixed = smooth(0), smooth(1)
    force = descriptor_forces(moving, fixed)
    torch.testing.assert_close(force, descriptor_forces(moving, 1 - 0.7 * fixed), atol=1e-2, rtol=1e-2)
    torch.testing.assert_close(force.square().mean(), torch.ones(()), atol=0.01, rtol=0)
    assert descriptor_forces(moving, moving).abs().max() == 0
    assert descriptor_forces(moving, torch.zeros_like(moving)).isfinite().all()


@pytest.mark.parametrize(("radius", "dilation"), [(0, 2), (1, 0)])
def test_refuses_descriptors_of_nothing(radius: int, dilation: int) -> None:
    with pytest.raises(ValueError, match=rf"'radius' and 'dilation' must be at least 1, got {radius} and {dilation}"):
        descriptor_forces(smooth(0), smooth(1), radius, dilation)
