"""NICE-Trans: published parameter counts, the affine field against an independent one, what the affine head reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from morphseek_monai.fields import warp
from morphseek_monai.networks import Backbone, MorphSeekNet, NICETrans
from morphseek_monai.networks.affine import AffineHead, affine_ddf

LearnShift = Callable[[Backbone], list[float]]
SIZE = (8, 12, 20)


def small(**kwargs: Any) -> NICETrans:
    torch.manual_seed(0)
    return NICETrans((4, 4, 8), (16, 8, 4), heads=(4, 2), window=(3, 3, 3), **kwargs)


def awake(net: NICETrans) -> NICETrans:
    torch.nn.init.normal_(net.affine.layers[2].weight, std=0.2)
    torch.nn.init.normal_(net.flow.weight, std=0.1)
    return net


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def parameters(batch: int = 2) -> Tensor:
    return torch.empty(batch, 3, 4).uniform_(-0.3, 0.3, generator=torch.Generator().manual_seed(0))


def test_parameters_as_published() -> None:
    with torch.device("meta"):
        net = NICETrans()
    assert count(net) == 5_706_508
    assert count(net.encoder) == 883_720
    assert count(net) - count(net.encoder) == 4_822_788
    assert count(net.top[1]) == 3_205_696  # the Swin stage that makes the top feature
    assert (net.latent_channels, net.stride) == (256, 16)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"encoder": (4, 4, 4), "decoder": (8, 8)}, r"'decoder' must have one entry .* \(3\), got 2"),
        ({"heads": (16, 8, 4)}, r"'heads' must have one entry .* but the finest \(4\), got 3"),
    ],
)
def test_refuses(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NICETrans(**arguments)


def test_affine_field_is_that_of_torch() -> None:
    """PyTorch's affine_grid has x, y, z for our D, H, W; between outer edges is its align_corners=False."""
    matrix = parameters()
    flipped = matrix.flip(1)
    theta = torch.cat([flipped[:, :, :3].flip(2), flipped[:, :, 3:]], dim=2) + torch.eye(3, 4)
    grid = F.affine_grid(theta, [2, 1, *SIZE], align_corners=False)
    identity = F.affine_grid(torch.eye(3, 4).expand(2, 3, 4), [2, 1, *SIZE], align_corners=False)
    expected = (grid - identity).flip(-1).permute(0, 4, 1, 2, 3) * torch.tensor(SIZE).view(1, 3, 1, 1, 1) / 2
    torch.testing.assert_close(affine_ddf(matrix, list(SIZE)), expected, atol=1e-5, rtol=1e-5)


def test_affine_field_in_voxels() -> None:
    """A shear of D along W: 0.5 of the half extent of D at the far edge of W, nothing at the middle."""
    matrix = torch.zeros(1, 3, 4)
    matrix[0, 0, 2] = 0.5
    ddf = affine_ddf(matrix, [8, 12, 20])
    torch.testing.assert_close(ddf[0, 0, 3, 5], 0.5 * 4 * (torch.arange(20) - 9.5) / 10)
    assert not ddf[:, 1:].any()


def test_affine_field_moves_the_image_as_it_says() -> None:
    """``warped(x) = moving(x + u(x))`` of a linear ramp is the ramp at the mapped point, for a non-cubic grid."""
    matrix = parameters(1) / 3
    axes = torch.stack(torch.meshgrid(*[torch.arange(float(n)) for n in SIZE], indexing="ij"))
    slope = torch.tensor([1.0, -2.0, 0.5])
    moving = torch.einsum("c,cdhw->dhw", slope, axes)[None, None]
    half = torch.tensor(SIZE) / 2
    linear = matrix[0, :, :3] * half[:, None] / half[None, :]
    centred = axes - (half - 0.5).view(3, 1, 1, 1)
    target = axes + torch.einsum("cj,jdhw->cdhw", linear, centred) + (matrix[0, :, 3] * half).view(3, 1, 1, 1)
    expected = torch.einsum("c,cdhw->dhw", slope, target)[None, None]
    inside = ((target >= 0) & (target <= (2 * half - 1).view(3, 1, 1, 1))).all(0)
    assert 0.5 < inside.float().mean() < 1
    warped = warp(moving, affine_ddf(matrix, list(SIZE)))
    torch.testing.assert_close(warped[0, 0][inside], expected[0, 0][inside], atol=1e-4, rtol=1e-5)


def test_one_matrix_is_one_map_at_every_level() -> None:
    """Averaging the field of the full grid over 2x2x2 voxels gives the coarse one, in voxels half as many."""
    fine = affine_ddf(parameters(), list(SIZE))
    torch.testing.assert_close(affine_ddf(parameters(), [n // 2 for n in SIZE]), F.avg_pool3d(fine, 2) / 2)


def test_affine_head_is_bounded_and_nearly_silent_at_first() -> None:
    torch.manual_seed(0)
    head = AffineHead(16)
    x = torch.randn(3, 16, 2, 3, 4) + 1
    assert head(x).shape == (3, 3, 4)
    assert 0 < head(x).abs().max() < 1e-3
    torch.nn.init.constant_(head.layers[2].weight, 1e3)
    assert head(x).abs().max() == 1
    torch.testing.assert_close(head(x)[1:2], head(x[1:2]))


def test_without_residuals_the_field_is_the_affine_map_to_the_border() -> None:
    net = small()
    for head in (*net.heads, net.flow):
        torch.nn.init.zeros_(head.weight)
    torch.nn.init.normal_(net.affine.layers[2].weight, std=0.2)
    pair = torch.rand(2, 2, 1, *SIZE)
    matrix = net.affine(net.encode(*pair).top)
    assert matrix.abs().max() > 0.05
    torch.testing.assert_close(net(*pair), affine_ddf(matrix, list(SIZE)))


def test_residual_flows_add_up_from_coarse_to_fine() -> None:
    net = small()
    torch.nn.init.zeros_(net.affine.layers[2].weight)
    heads = [*net.heads, net.flow]
    for head in heads:
        torch.nn.init.zeros_(head.weight)
    pair = torch.rand(2, 1, 1, *SIZE)
    for head, worth in zip(heads, (2.0, 1.0), strict=True):
        torch.nn.init.constant_(head.bias, 0.75)
        torch.testing.assert_close(net(*pair), torch.full((1, 3, *SIZE), 0.75 * worth))
        torch.nn.init.zeros_(head.bias)


def test_moving_features_follow_the_affine_map() -> None:
    """A translation by one voxel of 1/2, found by the affine head, moves the features of 1/2 by one voxel."""
    net = small()
    joined: list[Tensor] = []
    net.levels[0].fuse.register_forward_pre_hook(lambda module, args: joined.append(args[0]))
    net.affine.forward = lambda x: matrix  # type: ignore[method-assign]
    matrix = torch.zeros(1, 3, 4)
    matrix[0, 1, 3] = 2 / (SIZE[1] // 2)
    pair = torch.rand(2, 1, 1, *SIZE)
    moving_features, fixed_features = net.encoder(*pair)
    net(*pair)
    torch.testing.assert_close(joined[0][:, 8:12], fixed_features[1])
    torch.testing.assert_close(joined[0][:, 12:, :, :-1], moving_features[1][:, :, :, 1:], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("affine_on_sample", [False, True])
def test_what_the_affine_head_reads(affine_on_sample: bool) -> None:
    """By default trajectories share one affine map; with the flag each latent has its own."""
    net = awake(small(affine_on_sample=affine_on_sample))
    read: list[Tensor] = []
    net.affine.register_forward_pre_hook(lambda module, args: read.append(args[0]))
    moving, fixed = torch.rand(2, 1, 1, *SIZE)
    encoding = net.encode(moving, fixed)
    assert len(encoding.skips) == (4 if affine_on_sample else 5)
    latents = encoding.top + torch.randn(3, *encoding.top.shape[1:])
    fields = MorphSeekNet(net).act(encoding.skips, latents, torch.zeros(1, 3, *SIZE))
    assert torch.equal(read[0], latents if affine_on_sample else encoding.top.expand_as(latents))
    assert (fields[0] - fields[1]).abs().max() > 1e-3


def test_without_a_policy_the_flag_changes_nothing() -> None:
    pair = torch.rand(2, 1, 1, *SIZE)
    assert torch.equal(awake(small())(*pair), awake(small(affine_on_sample=True))(*pair))


def test_learns_a_shift(learn_shift: LearnShift) -> None:
    errors = learn_shift(small())
    assert errors[-1] < 0.1 * errors[0]
