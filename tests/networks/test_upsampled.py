"""Convolutions of doubled features that are never made, against those of features that are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from morphseek_monai.networks import upsampled as module
from morphseek_monai.networks.backbone import conv_block
from morphseek_monai.networks.upsampled import DecoderBlock, convolve_upsampled, upsample_and_cat


def gradients(result: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    weights = torch.randn(result.shape, generator=torch.Generator().manual_seed(3))
    return torch.autograd.grad(result, inputs, weights)


@pytest.mark.parametrize("size", [(1, 1, 1), (2, 3, 4), (6, 5, 7)])
@pytest.mark.parametrize("batch", [1, 3])
def test_values_and_gradients(size: tuple[int, int, int], batch: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(batch, 5, *size, requires_grad=True)
    weight = torch.randn(4, 5, 3, 3, 3, requires_grad=True)
    result = convolve_upsampled(x, weight)
    expected = F.conv3d(F.interpolate(x, scale_factor=2.0, mode="nearest"), weight, padding=1)
    torch.testing.assert_close(result, expected, atol=1e-4, rtol=1e-4)
    for got, right in zip(gradients(result, x, weight), gradients(expected, x, weight), strict=True):
        torch.testing.assert_close(got, right, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("size", [(2, 2, 2), (4, 4, 4)], ids=["doubled", "apart"])
def test_block_reads_the_doubled_feature_then_the_skip(size: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    plain = conv_block(5 + 3, 4)
    block = DecoderBlock(*plain)
    x = torch.randn(2, 5, *size, requires_grad=True)
    skip = torch.randn(2, 3, *(2 * n for n in size), requires_grad=True)
    inputs = (x, skip, *block.parameters())
    result, expected = block(x, skip), plain(upsample_and_cat(x, skip))
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-5)
    for got, right in zip(gradients(result, *inputs), gradients(expected, *inputs), strict=True):
        torch.testing.assert_close(got, right, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(torch.jit.script(block)(x, skip), expected)


def test_block_without_a_skip_is_the_sequence() -> None:
    torch.manual_seed(0)
    plain, x = conv_block(5, 4), torch.randn(1, 5, 4, 4, 4)
    assert torch.equal(DecoderBlock(*plain)(x), plain(x))


def test_block_makes_no_doubled_feature(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(module, "upsample_and_cat")
    block = DecoderBlock(nn.Conv3d(5, 2, 3, padding=1))
    assert block(torch.randn(1, 3, 4, 4, 4), torch.randn(1, 2, 8, 8, 8)).shape == (1, 2, 8, 8, 8)


@pytest.mark.parametrize("conv", [nn.Conv3d(5, 2, 3, padding=1, stride=2), nn.Conv3d(5, 2, 1)])
def test_block_with_another_convolution(conv: nn.Conv3d) -> None:
    x, skip = torch.randn(1, 3, 4, 4, 4), torch.randn(1, 2, 8, 8, 8)
    assert torch.equal(DecoderBlock(conv)(x, skip), conv(upsample_and_cat(x, skip)))


def test_autocast_keeps_bfloat16() -> None:
    block = DecoderBlock(*conv_block(5, 2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert block(torch.randn(1, 3, 4, 4, 4).bfloat16(), torch.randn(1, 2, 8, 8, 8)).dtype == torch.bfloat16
