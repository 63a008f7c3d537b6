"""MorphSeekNet: its two halves of a step, refinement, padding and the policy's place between encoder and decoder."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d

from morphseek_monai.fields import compose, resize_ddf, warp
from morphseek_monai.networks import LatentPolicy, MorphSeekNet, VoxelMorph

MakeNet = Callable[..., MorphSeekNet]
SIZE = (16, 16, 16)


def images(batch: int = 1, size: tuple[int, int, int] = SIZE) -> Tensor:
    return torch.rand(batch, 2, *size, generator=torch.Generator().manual_seed(0))


def no_displacement(image: Tensor) -> Tensor:
    return image.new_zeros(len(image), 3, *image.shape[2:])


def voxels(field: Tensor) -> float:
    return field.abs().max().item()


def test_refuses_an_unknown_policy(make_net: MakeNet) -> None:
    with pytest.raises(ValueError, match=r"'policy' must be 'gaussian' or 'none', got 'None'"):
        make_net(policy="None")


@pytest.mark.parametrize("policy", ["gaussian", "none"])
def test_field_has_the_image_grid_and_moves_voxels(make_net: MakeNet, policy: str) -> None:
    ddf = make_net(steps=2, policy=policy)(images(2, (16, 12, 20)))
    assert (ddf.shape, ddf.dtype) == ((2, 3, 16, 12, 20), torch.float32)
    assert voxels(ddf) > 0.3


def test_untrained_network_is_the_identity() -> None:
    torch.manual_seed(0)
    assert voxels(MorphSeekNet(VoxelMorph(), steps=3)(images())) < 1e-3


def test_one_step_without_policy_is_the_backbone(make_net: MakeNet) -> None:
    net = make_net(policy="none")
    image = images(2)
    torch.testing.assert_close(net(image), net.backbone(image[:, :1], image[:, 1:]), atol=1e-5, rtol=1e-5)


def test_policy_mean_is_nearly_the_feature_at_a_large_scale(make_net: MakeNet) -> None:
    net, plain = make_net(steps=2, latent_scale=1e4), make_net(steps=2, policy="none")
    plain.load_state_dict(net.state_dict(), strict=False)
    torch.testing.assert_close(net(images()), plain(images()), atol=1e-4, rtol=1e-4)
    squashed = make_net(steps=2, latent_scale=0.1)
    squashed.load_state_dict(net.state_dict())
    assert voxels(squashed(images()) - plain(images())) > 1e-3


def test_steps_equal_composition_by_hand(make_net: MakeNet) -> None:
    """Each step encodes the original moving image, warped once; only the encoder sees the field so far."""
    net = make_net(steps=3)
    moving, fixed = images()[:, :1], images()[:, 1:]
    assert net.head is not None
    ddf = no_displacement(moving)
    for _ in range(3):
        encoding = net.backbone.encode(warp(moving, ddf), fixed)
        ddf = compose(ddf, net.backbone.decode(encoding.skips, net.head.mean(encoding.top)))
    torch.testing.assert_close(net(images()), ddf, atol=1e-5, rtol=1e-5)
    net.steps = 2
    assert voxels(net(images()) - ddf) > 0.05


def test_sample_without_noise_is_the_deterministic_step(make_net: MakeNet) -> None:
    net = make_net()
    moving, fixed = images()[:, :1], images()[:, 1:]
    ddf = 2 * torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    encoding = net.observe(moving, fixed, ddf)
    assert net.head is not None
    policy = net.head(encoding.top)
    still = net.act(encoding.skips, policy.latent(policy.noise(1), tau=0.0), ddf)
    assert torch.equal(still, net.step(moving, fixed, ddf))


def test_samples_approach_the_mean_as_sigma_falls(make_net: MakeNet) -> None:
    net = make_net()
    moving, fixed = images()[:, :1], images()[:, 1:]
    encoding = net.observe(moving, fixed, no_displacement(moving))
    policy = net.head(encoding.top)  # type: ignore[misc]
    noise = policy.noise(1, torch.Generator().manual_seed(0))
    mean = net.step(moving, fixed, no_displacement(moving))
    distance = []
    for log_sigma in (0.0, -3.0, -6.0):
        narrow = LatentPolicy(policy.mu, torch.full_like(policy.mu, log_sigma))
        distance.append(voxels(net.act(encoding.skips, narrow.latent(noise), no_displacement(moving)) - mean))
    assert distance[0] > 10 * distance[1] > 100 * distance[2] > 0


def test_latents_sharing_skips_equal_one_by_one(make_net: MakeNet) -> None:
    net = make_net()
    moving, fixed = images()[:, :1], images()[:, 1:]
    ddf = torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    encoding = net.observe(moving, fixed, ddf)
    latents = encoding.top + torch.randn(4, *encoding.top.shape[1:], generator=torch.Generator().manual_seed(2))
    together = net.act(encoding.skips, latents, ddf)
    assert together.shape == (4, 3, *SIZE)
    alone = torch.cat([net.act(encoding.skips, latent[None], ddf) for latent in latents])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    assert voxels(together[0] - together[1]) > 1e-3


def test_pairs_of_a_batch_do_not_mix(make_net: MakeNet) -> None:
    net = make_net(steps=2)
    image = images(3)
    alone = torch.cat([net(image[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(net(image), alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [(13, 16, 16), (16, 13, 16), (16, 16, 13), (9, 10, 11)])
def test_odd_sizes_are_padded_at_the_far_end_with_the_edge(make_net: MakeNet, size: tuple[int, int, int]) -> None:
    net = make_net()
    image = images(1, size)
    whole = image
    for axis, n in zip((2, 3, 4), size):
        index = torch.arange(-(-n // net.stride) * net.stride).clamp(max=n - 1)
        whole = whole.index_select(axis, index)
    d, h, w = size
    ddf = net(image)
    assert ddf.shape == (1, 3, *size)
    torch.testing.assert_close(ddf, net(whole)[:, :, :d, :h, :w], atol=1e-5, rtol=1e-5)


def test_gradient_flows_through_all_steps(make_net: MakeNet) -> None:
    net = make_net(steps=3)
    net(images()).square().mean().backward()
    silent = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == ["head.log_sigma.weight", "head.log_sigma.bias"]  # the mean does not depend on sigma


def test_refuses_no_steps() -> None:
    with pytest.raises(ValueError, match=r"MorphSeekNet\(\) 'steps' must be at least 1, got 0"):
        MorphSeekNet(VoxelMorph(), steps=0)


def test_coarse_to_fine_equals_steps_by_hand(make_net: MakeNet) -> None:
    """A step at scale 2 sees means of 2 x 2 x 2 voxels and moves twice as many voxels as it says."""
    net = make_net(steps=3, scales=(2, 1))
    assert [net.scale(t) for t in range(4)] == [2, 1, 1, 1]
    moving, fixed = images()[:, :1], images()[:, 1:]
    assert net.head is not None
    ddf = no_displacement(moving)
    for scale in (2, 1, 1):
        reduced = [avg_pool3d(image, scale) for image in (warp(moving, ddf), fixed)]
        encoding = net.backbone.encode(*reduced)
        coarse = net.backbone.decode(encoding.skips, net.head.mean(encoding.top))
        ddf = compose(ddf, coarse if scale == 1 else resize_ddf(coarse, list(SIZE)))
    torch.testing.assert_close(net(images()), ddf, atol=1e-5, rtol=1e-5)
    net.scales = [1]
    assert voxels(net(images()) - ddf) > 0.05


def test_coarse_steps_take_any_size(make_net: MakeNet) -> None:
    net = make_net(steps=2, scales=(4, 1))
    assert net(torch.rand(1, 2, 13, 17, 22)).shape == (1, 3, 13, 17, 22)


@pytest.mark.parametrize("scales", [(), (0, 1), (2, -1)])
def test_refuses_scales(scales: tuple[int, ...], make_net: MakeNet) -> None:
    with pytest.raises(ValueError, match=r"MorphSeekNet\(\) 'scales' must be factors of at least 1, got "):
        make_net(scales=scales)
