"""What every backbone promises. A new one joins BACKBONES with a small version of itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from morphseek_monai.networks import Backbone, MorphSeekNet, VoxelMorph, VoxelMorphL

BACKBONES: dict[str, Callable[[], Backbone]] = {
    "VoxelMorph": lambda: VoxelMorph((4, 6, 8), (8, 6, 4), (4,)),
    "VoxelMorph direct": lambda: VoxelMorph((4, 6), (6, 4), (4, 4), integration_steps=0),
    "VoxelMorphL": lambda: VoxelMorphL((4, 6, 8), (8, 6, 4), (4,)),
    "VoxelMorphL integrated": lambda: VoxelMorphL((4, 6), (6, 4), (4,), integration_steps=3),
}
SIZES = [(16, 16, 16), (8, 16, 24)]


@pytest.fixture(params=BACKBONES)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    torch.manual_seed(0)
    return BACKBONES[request.param]()


def awake(backbone: Backbone) -> Backbone:
    torch.nn.init.normal_(backbone.flow.weight, std=0.2)  # every backbone calls its last layer flow
    return backbone


def pair(size: tuple[int, int, int], batch: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    moving, fixed = torch.rand(2, batch, 1, *size, generator=generator)
    return moving, fixed


@pytest.mark.parametrize("size", SIZES)
def test_shapes(backbone: Backbone, size: tuple[int, int, int]) -> None:
    encoding = backbone.encode(*pair(size))
    assert encoding.top.shape == (2, backbone.latent_channels, *(n // backbone.stride for n in size))
    ddf = backbone.decode(encoding.skips, encoding.top)
    assert ddf.shape == (2, 3, *size)
    assert ddf.dtype == torch.float32


def test_forward_decodes_the_top_feature(backbone: Backbone) -> None:
    moving, fixed = pair(SIZES[1])
    encoding = awake(backbone).encode(moving, fixed)
    assert torch.equal(backbone(moving, fixed), backbone.decode(encoding.skips, encoding.top))


def test_decoder_listens_to_latent_and_skips(backbone: Backbone) -> None:
    moving, fixed = pair(SIZES[0], batch=1)
    encoding = awake(backbone).encode(moving, fixed)
    ddf = backbone.decode(encoding.skips, encoding.top)
    assert (backbone.decode(encoding.skips, encoding.top + 1) - ddf).abs().max() > 1e-4
    assert (backbone.decode([skip + 1 for skip in encoding.skips], encoding.top) - ddf).abs().max() > 1e-4


def test_order_of_the_pair_matters(backbone: Backbone) -> None:
    moving, fixed = pair(SIZES[0], batch=1)
    awake(backbone)
    assert (backbone(moving, fixed) - backbone(fixed, moving)).abs().max() > 1e-4


def test_pairs_of_a_batch_do_not_mix(backbone: Backbone) -> None:
    moving, fixed = pair(SIZES[0], batch=3)
    awake(backbone)
    alone = torch.cat([backbone(moving[i : i + 1], fixed[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(backbone(moving, fixed), alone, atol=1e-5, rtol=1e-5)


def test_untrained_backbone_is_the_identity(backbone: Backbone) -> None:
    assert 0 < backbone(*pair(SIZES[0])).abs().max() < 1e-3


def test_every_parameter_gets_a_gradient(backbone: Backbone) -> None:
    awake(backbone)(*pair(SIZES[0])).square().sum().backward()
    silent = [name for name, p in backbone.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent


def test_signal_survives_all_layers(backbone: Backbone) -> None:
    """Features that shrink from layer to layer would blind an untrained network to its input."""
    features: list[Tensor] = []
    backbone.flow.register_forward_hook(lambda module, args, output: features.append(args[0]))
    moving, fixed = pair(SIZES[0])
    assert backbone.encode(moving, fixed).top.std() > 0.1
    backbone(moving, fixed)
    assert features[0].std() > 0.1


def test_autocast_reaches_every_convolution(backbone: Backbone) -> None:
    """A float32 skip must not lift the decoder's widest tensors out of bfloat16; the first one sees the latent."""
    inputs: list[torch.dtype] = []
    for layer in [*backbone.up[1:].modules(), *backbone.extra.modules()]:
        if isinstance(layer, torch.nn.Conv3d):
            layer.register_forward_pre_hook(lambda module, args: inputs.append(args[0].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        ddf = backbone(*pair(SIZES[0]))
    assert set(inputs) == {torch.bfloat16}
    assert ddf.dtype == torch.float32


@pytest.mark.parametrize("full", [VoxelMorph, VoxelMorphL])
def test_policy_head_costs_less_than_three_percent(full: type[Backbone]) -> None:
    with torch.device("meta"):
        net = MorphSeekNet(full())
        plain = MorphSeekNet(full(), policy=False)
    head = sum(p.numel() for p in net.parameters()) - sum(p.numel() for p in plain.parameters())
    assert 0 < head < 0.03 * sum(p.numel() for p in plain.parameters())


def test_bare_contract_is_abstract() -> None:
    bare = Backbone()
    with pytest.raises(NotImplementedError):
        bare.encode(*pair(SIZES[0]))
    with pytest.raises(NotImplementedError):
        bare.decode([], torch.zeros(1, 4, 2, 2, 2))
