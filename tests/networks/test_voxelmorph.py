"""VoxelMorph and VoxelMorph-L against the published parameter counts, and what is their own among the backbones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from morphseek_monai.fields import integrate_velocity, resize_ddf
from morphseek_monai.networks import Backbone, VoxelMorph, VoxelMorphL
from morphseek_monai.networks.forces import descriptor_forces

SMALL: list[Callable[[], Backbone]] = [
    lambda: VoxelMorph((4, 6, 8), (8, 6, 4), (4,)),
    lambda: VoxelMorphL((4, 6, 8), (8, 6, 4), (4,)),
]
NARROW: dict[str, Any] = {"decoder": (32, 32, 32, 32)}


@pytest.mark.parametrize(
    ("backbone", "arguments", "parameters"),
    [
        (VoxelMorph, {}, 327_331),
        (VoxelMorphL, {}, 63_252_939),
        (VoxelMorphL, {"encoder": (8, 32, 32, 32), "extras": (32, 8, 8), **NARROW}, 274_387),
        (VoxelMorphL, {"encoder": (16, 32, 32, 32), "extras": (32, 16, 16), **NARROW}, 301_411),
        (
            VoxelMorphL,
            {"encoder": (32, 64, 64, 64), "decoder": (64, 64, 64, 64), "extras": (64, 32, 32)},
            1_197_251,
        ),
    ],
    ids=["VoxelMorph", "L", "1", "2", "x2"],
)
def test_parameters_as_published(backbone: type[Backbone], arguments: dict[str, Any], parameters: int) -> None:
    with torch.device("meta"):
        net = backbone(**arguments)
    assert sum(p.numel() for p in net.parameters()) == parameters


@pytest.mark.parametrize("backbone", [VoxelMorph, VoxelMorphL])
def test_refuses_unequal_levels(backbone: type[Backbone]) -> None:
    with pytest.raises(ValueError, match=rf"{backbone.__name__}\(\) 'decoder' must have one entry .* \(3\), got 2"):
        backbone(encoder=(4, 4, 4), decoder=(4, 4))


def test_voxelmorph_integrates_its_field_at_half_resolution() -> None:
    torch.manual_seed(0)
    net = VoxelMorph((4, 4), (4, 4), (4,), integration_steps=0)
    torch.nn.init.zeros_(net.flow.weight)
    net.flow.bias.data = torch.tensor([1.5, -2.0, 0.5])
    pair = torch.rand(1, 1, 12, 16, 20), torch.rand(1, 1, 12, 16, 20)
    direct = net(*pair)
    torch.testing.assert_close(direct, net.flow.bias.detach().view(1, 3, 1, 1, 1).expand_as(direct))
    net.integration_steps = 5
    torch.testing.assert_close(net(*pair), direct)  # a translation is its own exponential, at any resolution
    torch.nn.init.normal_(net.flow.weight, std=1.0)
    net.integration_steps = 0
    direct = net(*pair)
    assert direct.abs().max() > 1
    net.integration_steps = 5
    velocity = resize_ddf(direct, [6, 8, 10])
    torch.testing.assert_close(net(*pair), resize_ddf(integrate_velocity(velocity, 5), [12, 16, 20]))


def test_voxelmorph_large_integrates_its_field_at_full_resolution() -> None:
    torch.manual_seed(0)
    net = VoxelMorphL((4, 4), (4, 4), (4,))
    torch.nn.init.normal_(net.flow.weight, std=0.3)
    pair = torch.rand(1, 1, 8, 12, 16), torch.rand(1, 1, 8, 12, 16)
    direct = net(*pair)
    net.integration_steps = 4
    assert direct.abs().max() > 0.1
    torch.testing.assert_close(net(*pair), integrate_velocity(direct, 4))


def test_voxelmorph_large_reads_forces_beside_the_images() -> None:
    pair = torch.rand(1, 1, 8, 12, 16), torch.rand(1, 1, 8, 12, 16)
    for forces, mind, channels in ((0, 0, 2), (5, 0, 5), (0, 1, 5), (5, 1, 8)):
        net = VoxelMorphL((4, 4), (4, 4), (4,), forces=forces, mind=mind)
        seen = net.encode(*pair).skips[0]
        assert seen.shape[1] == channels
        torch.testing.assert_close(seen[:, :2], torch.cat(pair, dim=1))
        if mind:
            torch.testing.assert_close(seen[:, -3:], descriptor_forces(*pair))


def test_voxelmorph_large_refuses_a_negative_radius() -> None:
    with pytest.raises(ValueError, match=r"VoxelMorphL\(\) 'mind' must be 0 or a radius of at least 1, got -1"):
        VoxelMorphL((4, 4), (4, 4), (4,), mind=-1)


@pytest.mark.parametrize("build", SMALL, ids=["VoxelMorph", "L"])
def test_signal_survives_all_layers(build: Callable[[], Any]) -> None:
    """Features that shrink from layer to layer would blind an untrained network to its input."""
    torch.manual_seed(0)
    net = build()
    features: list[Tensor] = []
    net.flow.register_forward_hook(lambda module, args, output: features.append(args[0]))
    moving, fixed = torch.rand(2, 2, 1, 16, 16, 16)
    assert net.encode(moving, fixed).top.std() > 0.1
    net(moving, fixed)
    assert features[0].std() > 0.1


@pytest.mark.parametrize("build", SMALL, ids=["VoxelMorph", "L"])
def test_autocast_reaches_every_convolution(build: Callable[[], Any]) -> None:
    """A float32 skip must not lift the decoder's widest tensors out of bfloat16; the first one sees the latent."""
    net = build()
    inputs: list[torch.dtype] = []
    for layer in [*net.up[1:].modules(), *net.extra.modules()]:
        if isinstance(layer, torch.nn.Conv3d):
            layer.register_forward_pre_hook(lambda module, args: inputs.append(args[0].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        net(torch.rand(1, 1, 16, 16, 16), torch.rand(1, 1, 16, 16, 16))
    assert set(inputs) == {torch.bfloat16}
