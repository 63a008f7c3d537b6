"""TransMorph against the published numbers; what it shares with all backbones is in test_every_backbone.py."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.networks.nets.swin_unetr import PatchMergingV2
from torch import Tensor, nn

from morphseek_monai.networks import MorphSeekNet, TransMorph

Size = tuple[int, int, int]


def pair(size: Size, batch: int = 1) -> tuple[Tensor, Tensor]:
    moving, fixed = torch.rand(2, batch, 1, *size, generator=torch.Generator().manual_seed(0))
    return moving, fixed


def make_net(**arguments: Any) -> TransMorph:
    """The tiny variant, its last layer awake."""
    torch.manual_seed(0)
    net = TransMorph("tiny", **{"window": (2, 2, 2), **arguments})
    nn.init.normal_(net.flow.weight, std=0.05)
    return net


@pytest.mark.parametrize(
    ("variant", "parameters"), [("base", 46_771_251), ("large", 108_343_907), ("small", 11_757_195), ("tiny", 244_527)]
)
def test_parameters_as_published(variant: str, parameters: int) -> None:
    with torch.device("meta"):
        net = TransMorph(variant)
    assert sum(p.numel() for p in net.parameters()) == parameters


def test_base_is_the_default() -> None:
    with torch.device("meta"):
        default, base = TransMorph().state_dict(), TransMorph("base", image_size=(160, 192, 224)).state_dict()
    assert {name: p.shape for name, p in default.items()} == {name: p.shape for name, p in base.items()}


def test_shapes_as_published() -> None:
    with torch.device("meta"):
        net = TransMorph()
        images = torch.empty(2, 1, 1, 160, 192, 224)
    encoding = net.encode(*images)
    assert [tuple(skip.shape[1:]) for skip in encoding.skips] == [
        (16, 160, 192, 224),
        (48, 80, 96, 112),
        (96, 40, 48, 56),
        (192, 20, 24, 28),
        (384, 10, 12, 14),
    ]
    assert encoding.top.shape == (1, 768, 5, 6, 7)
    assert (net.latent_channels, net.stride) == (768, 32)
    assert net.decode(encoding.skips, encoding.top).shape == (1, 3, 160, 192, 224)


@pytest.mark.parametrize(
    ("arguments", "window"),
    [
        ({}, [5, 6, 7]),
        ({"image_size": (161, 192, 1)}, [6, 6, 1]),
        ({"image_size": [192, 160, 256]}, [6, 5, 8]),
        ({"image_size": (160, 192, 224), "window": (2, 3, 4)}, [2, 3, 4]),
    ],
)
def test_window_follows_the_image_size(arguments: dict[str, Any], window: list[int]) -> None:
    net = TransMorph("tiny", **arguments)
    assert [stage.window for stage in net.stages] == [window] * 4


def test_sizes_may_be_given_one_by_one() -> None:
    own = make_net(embed_dim=8, depths=(1, 2, 1, 1), heads=(1, 2, 4, 8))
    assert own.latent_channels == 64
    assert [len(stage.blocks) for stage in own.stages] == [1, 2, 1, 1]
    assert [stage.blocks[0].attention.heads for stage in own.stages] == [1, 2, 4, 8]
    spelled_out = TransMorph("base", (64, 64, 64), None, 6, (2, 2, 4, 2), (2, 2, 4, 4))
    spelled_out.load_state_dict(TransMorph("tiny", (64, 64, 64)).state_dict())


@pytest.mark.parametrize("size", [(32, 32, 32), (32, 96, 64)], ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_images_of_another_size_than_it_was_built_for(size: Size, training: bool) -> None:
    """At 32 voxels the top feature has a single one, which instance normalisation would refuse to train on."""
    net = TransMorph("tiny").train(training)
    assert net(*pair(size)).shape == (1, 3, *size)


def test_untrained_network_is_the_identity() -> None:
    torch.manual_seed(0)
    assert 0 < TransMorph("tiny").eval()(*pair((32, 32, 64))).abs().max() < 2e-3


def test_field_is_the_displacement_itself() -> None:
    net = make_net().eval()
    nn.init.zeros_(net.flow.weight)
    net.flow.bias.data = torch.tensor([1.5, -2.0, 0.5])
    ddf = net(*pair((32, 32, 32)))
    assert torch.equal(ddf, net.flow.bias.detach().view(1, 3, 1, 1, 1).expand_as(ddf))


def test_patch_merging_is_that_of_monai() -> None:
    torch.manual_seed(0)
    ours, monai = make_net().merge[1], PatchMergingV2(6)
    nn.init.normal_(ours.norm.weight)
    monai.load_state_dict(ours.state_dict())
    x = torch.rand(2, 6, 4, 6, 8)
    torch.testing.assert_close(ours(x), monai(x.movedim(1, -1)).movedim(-1, 1))


def test_stages_pass_on_what_is_not_yet_normalised() -> None:
    """The norms belong to the decoder: scaling one must not reach the deeper stages."""
    net = make_net().eval()
    before = net.encode(*pair((32, 32, 64)))
    nn.init.constant_(net.norms[0].weight, 3.0)
    after = net.encode(*pair((32, 32, 64)))
    torch.testing.assert_close(after.skips[2], 3 * before.skips[2])
    assert torch.equal(after.top, before.top)


def test_stochastic_depth_grows_linearly_from_block_to_block() -> None:
    rates = [block.drop_path for stage in TransMorph("tiny").stages for block in stage.blocks]
    assert rates == pytest.approx(torch.linspace(0, 0.3, 10).tolist())


def test_stochastic_depth_is_random_in_training_only() -> None:
    net, images = make_net(drop_path=0.5), pair((32, 32, 64), batch=2)
    still = net.eval()(*images)
    assert torch.equal(net(*images), still)
    torch.manual_seed(1)
    first = net.train()(*images)
    assert not torch.allclose(first, still)
    assert not torch.allclose(net(*images), first)
    torch.manual_seed(1)
    assert torch.equal(net(*images), first)
    sure = make_net(drop_path=0.0)
    torch.testing.assert_close(sure.train()(*images), sure.eval()(*images))


def test_every_parameter_is_used_in_a_policy_step() -> None:
    """Data-parallel training stops at a parameter without gradient."""
    net = MorphSeekNet(make_net(window=(2, 2, 4), drop_path=0.0)).train()
    assert net.head is not None
    moving, fixed = pair((32, 32, 64))
    ddf = torch.zeros(1, 3, 32, 32, 64)
    encoding = net.observe(moving, fixed, ddf)
    policy = net.head(encoding.top)
    net.act(encoding.skips, policy.latent(policy.noise(2)), ddf).square().sum().backward()
    assert not [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]


def test_autocast_reaches_every_convolution_of_the_decoder() -> None:
    """A float32 skip must not lift the widest tensors out of bfloat16; the first block sees the latent."""
    net, inputs = make_net().eval(), []
    for layer in net.up[1:].modules():
        if isinstance(layer, nn.Conv3d):
            layer.register_forward_pre_hook(lambda module, args: inputs.append(args[0].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        ddf = net(*pair((32, 32, 64)))
    assert inputs == [torch.bfloat16] * 8
    assert ddf.dtype == torch.float32
    assert torch.isfinite(ddf).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"variant": "huge"}, r"TransMorph\(\) 'variant' must be one of base, large, small, tiny, got 'huge'"),
        ({"image_size": (160, 192)}, r"TransMorph\(\) 'image_size' must be three positive sizes, got \(160, 192\)"),
        ({"image_size": (160, 0, 1)}, r"TransMorph\(\) 'image_size' must be three positive sizes, got \(160, 0, 1\)"),
        ({"window": (5, 6)}, r"SwinStage\(\) 'window' must be three positive sizes, got \(5, 6\)"),
        ({"embed_dim": 7}, r"TransMorph\(\) 'embed_dim' must be even and positive, got 7"),
        ({"depths": (2, 2, 2)}, r"TransMorph\(\) 'depths' and 'heads' must be four positive numbers each, got"),
        ({"depths": (2, 0, 2, 2)}, r"TransMorph\(\) 'depths' and 'heads' must be four positive numbers each, got"),
        ({"heads": (2, 2)}, r"TransMorph\(\) 'depths' and 'heads' must be four positive numbers each, got"),
        ({"embed_dim": 6, "heads": (4, 4, 4, 4)}, r"SwinStage\(\) 'heads' must divide 'channels' \(6\), got 4"),
        ({"drop_path": 1.0}, r"TransMorph\(\) 'drop_path' must be in \[0, 1\), got 1.0"),
    ],
)
def test_refuses(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TransMorph(**{"variant": "tiny", **arguments})
