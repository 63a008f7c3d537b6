"""CorrMLP: the published parameter count, local correlation and windows against naive loops, flow, learning."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from morphseek_monai.networks import Backbone, CorrMLP
from morphseek_monai.networks.correlation import local_correlation
from morphseek_monai.networks.window_mlp import ChannelAttentionBlock, GatedMLP, MultiWindowMLP, SpatialMixing

LearnShift = Callable[[Backbone], list[float]]


def small() -> CorrMLP:
    torch.manual_seed(0)
    return CorrMLP((4, 4, 8), (16, 8, 4), windows=(3, 5))


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_parameters_as_published() -> None:
    with torch.device("meta"):
        net = CorrMLP()
    assert (count(net), count(net.encoder)) == (4_190_834, 219_912)
    assert (net.latent_channels, net.stride) == (128, 8)


def test_parameters_of_a_branch_of_the_gated_mlp() -> None:
    """The windows' matrices dominate: 3^6, 5^6 and 7^6 weights, once in every block."""
    assert count(SpatialMixing(7)) == 343 * 343 + 343
    c = 64
    assert count(GatedMLP(c, 3)) - count(SpatialMixing(3)) == 3 * c * c + 7 * c


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"encoder": (4, 4, 4), "decoder": (8, 8)}, r"'decoder' must have one entry .* \(3\), got 2"),
        ({"decoder": (128, 64, 32, 6)}, r"'decoder' must hold multiples of 4, got \[128, 64, 32, 6\]"),
    ],
)
def test_refuses(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CorrMLP(**arguments)


@pytest.mark.parametrize("radius", [1, 2])
def test_correlation_against_a_naive_loop(radius: int) -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 2, 5, 3, 4, 6, generator=generator)
    n = 2 * radius + 1
    expected = torch.zeros(2, n**3, 3, 4, 6)
    shifts = list(product(range(-radius, radius + 1), repeat=3))
    for channel, (i, j, k) in enumerate(shifts):
        for d, h, w in product(range(3), range(4), range(6)):
            if 0 <= d + i < 3 and 0 <= h + j < 4 and 0 <= w + k < 6:
                products = first[:, :, d, h, w] * second[:, :, d + i, h + j, w + k]
                expected[:, channel, d, h, w] = products.mean(1)
    torch.testing.assert_close(local_correlation(first, second, radius), expected)


def test_correlation_peaks_at_the_displacement() -> None:
    """``first(x) = second(x + d)`` puts the largest value into the channel of d, the displacement a flow head needs."""
    second = torch.randn(1, 64, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    first = second.roll((1, 0, -1), dims=(2, 3, 4))  # first(x) = second(x + d) with d = (-1, 0, 1)
    best = local_correlation(first, second)[:, :, 2:-2, 2:-2, 2:-2].mean((2, 3, 4)).argmax(1)
    assert list(product((-1, 0, 1), repeat=3))[int(best)] == (-1, 0, 1)


@pytest.mark.parametrize("size", [(6, 3, 9), (4, 1, 7)], ids=["whole windows", "cut windows"])
def test_windows_against_a_naive_loop(size: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    mixing, w = SpatialMixing(3), 3
    x = torch.randn(2, *size, 4)
    padded = torch.zeros(2, *(-(-n // w) * w for n in size), 4)
    padded[:, : size[0], : size[1], : size[2]] = x
    expected = torch.empty_like(padded)
    for corner in product(*(range(0, n, w) for n in padded.shape[1:4])):
        cube = (slice(None), *(slice(n, n + w) for n in corner))
        flat = padded[cube].reshape(2, w**3, 4)
        mixed = torch.einsum("ij,bjc->bic", mixing.linear.weight, flat) + mixing.linear.bias[:, None]
        expected[cube] = mixed.reshape(2, w, w, w, 4)
    torch.testing.assert_close(mixing(x), expected[:, : size[0], : size[1], : size[2]])


def test_gate_of_ones_leaves_a_pointwise_mlp() -> None:
    """With a silent spatial map the gate is 1: voxels no longer see each other."""
    torch.manual_seed(0)
    mlp = GatedMLP(8, 3)
    x = torch.randn(1, 3, 3, 3, 8)
    other = x.clone()
    other[0, 2, 2, 2, 0] += 1
    assert (mlp(x) - mlp(other))[0, 0, 0, 0].abs().max() > 1e-5
    torch.nn.init.zeros_(mlp.gate[1].linear.weight)
    torch.nn.init.zeros_(mlp.gate[1].linear.bias)
    assert torch.equal(mlp(x)[0, 0, 0, 0], mlp(other)[0, 0, 0, 0])
    torch.testing.assert_close(mlp(x), x + mlp.narrow(mlp.widen(x)[..., :8]))


def test_softmax_chooses_the_branch() -> None:
    """Weights of the branches belong to channels and add up to one."""
    torch.manual_seed(0)
    mlp = MultiWindowMLP(8, (3, 5))
    x = torch.randn(2, 4, 4, 4, 8)
    last = mlp.weights[2]
    torch.nn.init.zeros_(last.weight)
    branches = [branch(mlp.norm(x)) for branch in mlp.branches]
    torch.nn.init.zeros_(last.bias)
    torch.testing.assert_close(mlp(x), x + mlp.out((branches[0] + branches[1]) / 2))
    with torch.no_grad():
        last.bias[:4], last.bias[12:] = 100.0, 100.0  # branch 0 for channels 0..3, branch 1 for 4..7
    mixed = torch.cat([branches[0][..., :4], branches[1][..., 4:]], dim=-1)
    torch.testing.assert_close(mlp(x), x + mlp.out(mixed))


def test_channel_attention_weighs_whole_channels() -> None:
    torch.manual_seed(0)
    block = ChannelAttentionBlock(8)
    x = torch.randn(2, 8, 4, 4, 4)
    ratio = (block(x) - x) / block.convs(x)
    weight = ratio.mean((2, 3, 4), keepdim=True)
    torch.testing.assert_close(ratio, weight.expand_as(ratio), atol=1e-3, rtol=1e-3)
    assert (weight > 0).all() and (weight < 1).all() and weight.std() > 1e-3


def test_skips_are_moving_then_fixed_and_finest_first() -> None:
    net = small()
    moving, fixed = torch.rand(2, 1, 1, 16, 16, 16)
    skips = net.encode(moving, fixed).skips
    moving_features, fixed_features = net.encoder(moving, fixed)
    for skip, feature in zip(skips, moving_features[:2] + fixed_features[:2], strict=True):
        assert torch.equal(skip, feature)


def test_flows_add_up_from_coarse_to_fine() -> None:
    """Heads that say a constant are worth 4, 2 and 1 voxels of the full grid, and each warps what comes after it."""
    net = small()
    heads = [net.levels[0].head, net.levels[1].head, net.flow]
    for head in heads:
        torch.nn.init.zeros_(head.weight)
    pair = torch.rand(2, 1, 1, 8, 12, 16)
    for head, worth in zip(heads, (4.0, 2.0, 1.0), strict=True):
        torch.nn.init.constant_(head.bias, 0.75)
        torch.testing.assert_close(net(*pair), torch.full((1, 3, 8, 12, 16), 0.75 * worth))
        torch.nn.init.zeros_(head.bias)

    seen: list[tuple[Tensor, ...]] = []
    net.levels[1].match.register_forward_pre_hook(lambda module, args: seen.append(args))
    with torch.no_grad():
        heads[1].bias[0] = 0.5  # one voxel along D at full resolution, fixed's grid
    moving_features, fixed_features = net.encoder(*pair)
    net(*pair)
    assert torch.equal(seen[0][0], fixed_features[0])
    torch.testing.assert_close(seen[0][1][:, :, :-1], moving_features[0][:, :, 1:])


def test_learns_a_shift(learn_shift: LearnShift) -> None:
    errors = learn_shift(small())
    assert errors[-1] < 0.1 * errors[0]
