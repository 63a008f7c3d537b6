"""The parts CorrMLP and NICE-Trans share: siamese encoder, normalisation of one voxel, the flow's way up a pyramid."""

from __future__ import annotations

import pytest
import torch

from morphseek_monai.fields import resize_ddf
from morphseek_monai.networks.pyramid import coarse_flow_head, double_flow, upsampling, warp_features, zero_flow
from morphseek_monai.networks.siamese import InstanceNorm, SiameseEncoder


@pytest.mark.parametrize(
    ("channels", "parameters"), [((8, 16, 32, 64), 219_912), ((8, 16, 32, 64, 128), 883_720)], ids=["CorrMLP", "NICE"]
)
def test_parameters_as_published(channels: tuple[int, ...], parameters: int) -> None:
    assert sum(p.numel() for p in SiameseEncoder(channels).parameters()) == parameters


def test_levels_halve_the_grid() -> None:
    moving, fixed = SiameseEncoder((2, 3, 5))(torch.rand(2, 1, 8, 12, 16), torch.rand(2, 1, 8, 12, 16))
    shapes = [(2, 2, 8, 12, 16), (2, 3, 4, 6, 8), (2, 5, 2, 3, 4)]
    assert [tuple(x.shape) for x in moving] == shapes
    assert [tuple(x.shape) for x in fixed] == shapes


def test_both_images_see_the_same_weights_and_not_each_other() -> None:
    torch.manual_seed(0)
    encoder = SiameseEncoder((4, 6))
    a, b, c = torch.rand(3, 2, 1, 8, 8, 8)
    first, second = encoder(a, b)
    swapped_second, swapped_first = encoder(b, a)
    again, _ = encoder(a, c)
    for level in range(2):
        torch.testing.assert_close(swapped_first[level], first[level])
        torch.testing.assert_close(swapped_second[level], second[level])
        torch.testing.assert_close(again[level], first[level])
        assert (first[level] - second[level]).abs().max() > 0.1


def test_normalisation_follows_the_activation() -> None:
    """Each channel of each pair comes out with mean 0 and variance 1; an activation last would skew them."""
    torch.manual_seed(0)
    features, _ = SiameseEncoder((4, 6))(*torch.rand(2, 2, 1, 16, 16, 16))
    for x in features:
        torch.testing.assert_close(x.mean((2, 3, 4)), torch.zeros(x.shape[:2]), atol=1e-5, rtol=0)
        torch.testing.assert_close(x.var((2, 3, 4), correction=0), torch.ones(x.shape[:2]), atol=5e-3, rtol=0)


@pytest.mark.parametrize("size", [(4, 5, 6), (1, 1, 2), (1, 3, 1)])
def test_instance_norm_is_that_of_torch(size: tuple[int, int, int]) -> None:
    x = torch.randn(2, 3, *size) + 1
    assert torch.equal(InstanceNorm()(x), torch.nn.InstanceNorm3d(3)(x))


def test_instance_norm_lets_one_voxel_pass() -> None:
    x = torch.randn(2, 3, 1, 1, 1)
    with pytest.raises(ValueError, match="more than 1 spatial element"):
        torch.nn.InstanceNorm3d(3)(x)
    for norm in (InstanceNorm(), InstanceNorm().eval(), torch.jit.script(InstanceNorm())):
        assert torch.equal(norm(x), x)


@pytest.mark.parametrize("size", [(2, 3, 4), (5, 2, 2)])
def test_double_flow_is_resize_ddf(size: tuple[int, int, int]) -> None:
    flow = torch.randn(2, 3, *size)
    torch.testing.assert_close(double_flow(flow), resize_ddf(flow, [2 * n for n in size]))


def test_double_flow_of_one_voxel() -> None:
    flow = torch.tensor([1.0, -2.0, 0.5]).view(1, 3, 1, 1, 1)
    assert torch.equal(double_flow(flow), 2 * flow.expand(1, 3, 2, 2, 2))


def test_doubled_flow_fits_pooled_features() -> None:
    """One coarse voxel is two fine voxels: what aligns the pooled maps aligns the maps, in the middle and beside it.

    Corner-to-corner scaling by (2n - 1) / (n - 1) would move by 2.29 voxels.
    """
    torch.manual_seed(0)
    fixed = torch.rand(1, 1, 16, 16, 16)
    moving = fixed.roll(2, dims=2)
    pool = torch.nn.AvgPool3d(2)
    flow = zero_flow(pool(fixed)).clone()
    flow[:, 0] = 1.0
    inner = slice(2, -4)
    torch.testing.assert_close(warp_features(pool(moving), flow)[:, :, 1:-2], pool(fixed)[:, :, 1:-2])
    torch.testing.assert_close(warp_features(moving, double_flow(flow))[:, :, inner], fixed[:, :, inner])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_warped_features_keep_their_type_and_fade_to_zero(dtype: torch.dtype) -> None:
    features = torch.ones(2, 5, 4, 4, 4, dtype=dtype)
    flow = zero_flow(features).clone()
    assert (flow.shape, flow.dtype) == ((2, 3, 4, 4, 4), torch.float32)
    flow[:, 2] = 2.0
    warped = warp_features(features, flow)
    assert warped.dtype == dtype
    assert torch.equal(warped[0, 0, 0, 0], torch.tensor([1.0, 1.0, 0.0, 0.0], dtype=dtype))


def test_coarse_heads_start_as_small_as_the_finest() -> None:
    torch.manual_seed(0)
    fine, coarse = coarse_flow_head(64, 0).weight.std().item(), coarse_flow_head(64, 3).weight.std().item()
    assert fine == pytest.approx(1e-5, rel=0.1)
    assert coarse == pytest.approx(1e-5 / 8, rel=0.1)


def test_upsampling_doubles_and_normalises_channels() -> None:
    torch.manual_seed(0)
    x = upsampling(6, 4)(torch.randn(2, 6, 2, 3, 4))
    assert x.shape == (2, 4, 4, 6, 8)
    torch.testing.assert_close(x.mean(1), torch.zeros(2, 4, 6, 8), atol=1e-5, rtol=0)
