"""The adapter against the networks it adapts: MONAI's own forward pass, parameters and strides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser
from monai.networks.nets import AttentionUnet, BasicUNet, DynUNet, UNet
from monai.networks.nets.unet import CheckpointUNet
from torch import Tensor, nn

from morphseek_monai.networks import MONAIUNet, MorphSeekNet

FEATURES = (4, 4, 4, 8, 8, 4)
Build = Callable[..., nn.Module]


def basic(spatial_dims: int = 3, in_channels: int = 2, out_channels: int = 3, **kwargs: Any) -> BasicUNet:
    return BasicUNet(spatial_dims, in_channels, out_channels, **{"features": FEATURES, **kwargs})


def unet(spatial_dims: int = 3, in_channels: int = 2, out_channels: int = 3, **kwargs: Any) -> UNet:
    return UNet(spatial_dims, in_channels, out_channels, **{"channels": (4, 6, 8), "strides": (2, 2), **kwargs})


def dyn(spatial_dims: int = 3, in_channels: int = 2, out_channels: int = 3, **kwargs: Any) -> DynUNet:
    settings = {"kernel_size": (3, 3, 3), "strides": (1, 2, 2), "upsample_kernel_size": (2, 2), "filters": (4, 6, 8)}
    return DynUNet(spatial_dims, in_channels, out_channels, **{**settings, **kwargs})


CASES: dict[str, tuple[Callable[[], nn.Module], int, int]] = {  # network, latent channels, stride
    "BasicUNet": (basic, 8, 16),
    "BasicUNet, interpolating": (lambda: basic(upsample="nontrainable", norm=("group", {"num_groups": 2})), 8, 16),
    "UNet": (unet, 8, 4),
    "UNet, four levels, uneven": (lambda: unet(channels=(2, 4, 6, 10), strides=(2, 1, 4), act="relu"), 10, 8),
    "UNet, two levels, no bias": (lambda: unet(channels=(4, 6), strides=((2, 2, 2), 7), bias=False), 6, 2),
    "UNet, isotropic overall": (lambda: unet(strides=((2, 2, 1), (1, 1, 2))), 8, 2),
    "DynUNet": (dyn, 8, 4),
    "DynUNet, residual": (lambda: dyn(res_block=True), 8, 4),
    "DynUNet, uneven": (lambda: dyn(strides=(1, 2, (3, 3, 3)), upsample_kernel_size=(2, 3)), 8, 6),
    "DynUNet, deep supervision": (lambda: dyn(deep_supervision=True), 8, 4),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, int, int]:
    """Network, latent channels, stride."""
    torch.manual_seed(0)
    build, channels, stride = CASES[request.param]
    return build().eval(), channels, stride


def pair(stride: int) -> tuple[Tensor, Tensor]:
    moving, fixed = torch.rand(2, 2, 1, stride, stride, 2 * stride, generator=torch.Generator().manual_seed(0))
    return moving, fixed


@pytest.mark.filterwarnings("ignore:`len\\(strides\\)")
def test_is_the_network_itself(case: tuple[nn.Module, int, int]) -> None:
    network, channels, stride = case
    backbone = MONAIUNet(network)
    nn.init.normal_(backbone.flow.weight, std=0.1)
    moving, fixed = pair(stride)
    encoding = backbone.encode(moving, fixed)
    expected = network(torch.cat([moving, fixed], dim=1))
    assert expected.abs().max() > 0.1
    assert torch.equal(backbone.decode(encoding.skips, encoding.top), expected)
    assert (backbone.latent_channels, backbone.stride) == (channels, stride)
    assert encoding.top.shape == (2, channels, 1, 1, 2)


@pytest.mark.parametrize("build", [basic, unet, dyn])
def test_holds_all_parameters_of_the_network_and_no_other(build: Build) -> None:
    network = build()
    backbone = MONAIUNet(network)
    assert {id(p) for p in backbone.parameters()} == {id(p) for p in network.parameters()}
    assert len(backbone.state_dict()) == len({p.data_ptr() for p in backbone.state_dict().values()})


@pytest.mark.parametrize("build", [basic, unet, dyn])
def test_starts_as_the_identity_whatever_the_network_was(build: Build) -> None:
    network = build()
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    backbone = MONAIUNet(network)
    assert 0 < backbone(*pair(backbone.stride)).abs().max() < 1e-2
    assert (backbone.flow.bias == 0).all()


def test_comes_from_a_config() -> None:
    config = {
        "_target_": "morphseek_monai.networks.MorphSeekNet",
        "backbone": {
            "_target_": "morphseek_monai.networks.MONAIUNet",
            "network": {
                "_target_": "monai.networks.nets.BasicUNet",
                "spatial_dims": 3,
                "in_channels": 2,
                "out_channels": 3,
                "features": list(FEATURES),
            },
        },
    }
    network = ConfigParser({"network_def": config}).get_parsed_content("network_def")
    assert isinstance(network, MorphSeekNet)
    assert network(torch.rand(1, 2, 16, 18, 20)).shape == (1, 3, 16, 18, 20)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: basic(spatial_dims=2), r"\(3, 2, 3\), got \(2, 2, 3\); build it with these"),
        (lambda: basic(in_channels=1), r"\(3, 2, 3\), got \(3, 1, 3\)"),
        (lambda: unet(in_channels=4), r"\(3, 2, 3\), got \(3, 4, 3\)"),
        (lambda: dyn(out_channels=13), r"\(3, 2, 3\), got \(3, 2, 13\)"),
        (lambda: unet(strides=(2, (2, 2, 1))), r"one stride for all axes, got \[4, 4, 2\] over all levels; build"),
        (lambda: dyn(strides=(2, 2, 2)), "a DynUNet whose strides begin with 2 does not; begin with 1"),
        (lambda: dyn(strides=((1, 1, 2), 2, 2)), r"strides begin with \(1, 1, 2\) does not"),
        (lambda: unet(num_res_units=2), "a UNet with residual units ends in a sum; build it with num_res_units=0"),
        (lambda: basic(norm="batch"), "must not normalise over the batch; build it with norm='instance'"),
    ],
)
def test_refuses_networks_built_otherwise(build: Build, message: str) -> None:
    with pytest.raises(ValueError, match=rf"^MONAIUNet\(\) 'network' .*{message}"):
        MONAIUNet(build())


@pytest.mark.parametrize(
    "build",
    [
        lambda: AttentionUnet(3, 2, 3, (4, 6), (2,)),
        lambda: CheckpointUNet(3, 2, 3, (4, 6), (2,)),
        lambda: nn.Conv3d(2, 3, 3),
    ],
    ids=["AttentionUnet", "subclass", "Conv3d"],
)
def test_refuses_other_networks(build: Build) -> None:
    network = build()
    message = rf"a BasicUNet, UNet or DynUNet of monai.networks.nets, got {type(network).__name__}; write a Backbone"
    with pytest.raises(TypeError, match=message):
        MONAIUNet(network)


@pytest.mark.parametrize("scripted", [False, True])
def test_instance_normalisation_needs_two_voxels_at_the_deepest_level(scripted: bool) -> None:
    image = torch.rand(1, 2, 4, 4, 4)
    net: Any = MorphSeekNet(MONAIUNet(unet()), steps=1)
    group = MorphSeekNet(MONAIUNet(unet(norm=("group", {"num_groups": 2}))), steps=1)
    if scripted:
        net = torch.jit.script(net)
    cure = r"must exceed 4 voxels along an axis, got \[4, 4, 4\]; .* build 'network' with norm='group'"
    with pytest.raises(torch.jit.Error if scripted else ValueError, match=cure):
        net(image)
    assert net(torch.rand(1, 2, 4, 5, 4)).shape == (1, 3, 4, 5, 4)
    assert group(image).shape == (1, 3, 4, 4, 4)
