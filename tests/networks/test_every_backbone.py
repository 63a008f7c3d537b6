"""What every backbone promises. A new one joins BACKBONES with a small version of itself, PUBLISHED at full size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from monai.networks.nets import BasicUNet, DynUNet, UNet
from torch import Tensor

from morphseek_monai.networks import (
    Backbone,
    CorrMLP,
    MONAIUNet,
    MorphSeekNet,
    NICETrans,
    TransMorph,
    VoxelMorph,
    VoxelMorphL,
)

GROUPS = ("group", {"num_groups": 2})

BACKBONES: dict[str, Callable[[], Backbone]] = {
    "VoxelMorph": lambda: VoxelMorph((4, 6, 8), (8, 6, 4), (4,)),
    "VoxelMorph direct": lambda: VoxelMorph((4, 6), (6, 4), (4, 4), integration_steps=0),
    "VoxelMorphL": lambda: VoxelMorphL((4, 6, 8), (8, 6, 4), (4,)),
    "VoxelMorphL integrated": lambda: VoxelMorphL((4, 6), (6, 4), (4,), integration_steps=3),
    "VoxelMorphL forces": lambda: VoxelMorphL((4, 6, 8), (8, 6, 4), (4,), forces=5),
    "TransMorph": lambda: TransMorph("tiny", window=(2, 2, 4), depths=(1, 2, 1, 1)),
    "NICETrans": lambda: NICETrans((4, 8, 8), (16, 8, 4), heads=(2, 2)),
    "CorrMLP": lambda: CorrMLP((4, 8), (16, 16), windows=(3, 5)),
    "MONAI BasicUNet": lambda: MONAIUNet(BasicUNet(3, 2, 3, features=(4, 4, 4, 8, 8, 4), norm=GROUPS)),
    "MONAI UNet": lambda: MONAIUNet(UNet(3, 2, 3, channels=(4, 8, 8), strides=(2, 2))),
    "MONAI DynUNet": lambda: MONAIUNet(DynUNet(3, 2, 3, (3, 3, 3), (1, 2, 2), (2, 2), filters=(4, 4, 8))),
}
PUBLISHED: dict[str, Callable[[], Backbone]] = {
    "VoxelMorph": VoxelMorph,
    "VoxelMorphL": VoxelMorphL,
    "TransMorph tiny": lambda: TransMorph("tiny"),
    "TransMorph small": lambda: TransMorph("small"),
    "TransMorph base": TransMorph,
    "TransMorph large": lambda: TransMorph("large"),
    "NICETrans": NICETrans,
    "CorrMLP": CorrMLP,
    "MONAIUNet(BasicUNet)": lambda: MONAIUNet(BasicUNet(3, 2, 3)),
}


@pytest.fixture(params=BACKBONES)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    """Each in turn, untrained, without its stochastic depth."""
    torch.manual_seed(0)
    return BACKBONES[request.param]().eval()


def awake(backbone: Backbone) -> Backbone:
    """Lift weights that start at nearly zero: a field of zeros would hide most faults."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in backbone.parameters():
            if parameter.abs().max() < 1e-3:
                parameter.normal_(std=0.02, generator=generator)
    return backbone


def small(backbone: Backbone, shorter: int = 0) -> tuple[int, int, int]:
    """The least size with more than one voxel in the top feature, ``shorter`` along the last axis."""
    return backbone.stride, backbone.stride, 2 * backbone.stride - shorter


def pair(size: tuple[int, int, int], batch: int = 1) -> tuple[Tensor, Tensor]:
    """Smooth noise: three steps through a steep image would turn rounding errors into displacements."""
    coarse = torch.rand(2 * batch, 1, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    moving, fixed = torch.nn.functional.interpolate(coarse, size, mode="trilinear").chunk(2)
    return moving, fixed


def image(size: tuple[int, int, int], batch: int = 1) -> Tensor:
    return torch.cat(pair(size, batch), dim=1)


def difference(a: Tensor, b: Tensor) -> float:
    return (a - b).abs().max().item()


def test_shapes(backbone: Backbone) -> None:
    size = small(backbone)
    encoding = backbone.encode(*pair(size, batch=2))
    assert encoding.top.shape == (2, backbone.latent_channels, 1, 1, 2)
    assert {len(skip) for skip in encoding.skips} == {2}
    ddf = backbone.decode(encoding.skips, encoding.top)
    assert (ddf.shape, ddf.dtype) == ((2, 3, *size), torch.float32)


def test_forward_decodes_the_top_feature(backbone: Backbone) -> None:
    moving, fixed = pair(small(awake(backbone)))
    encoding = backbone.encode(moving, fixed)
    assert torch.equal(backbone(moving, fixed), backbone.decode(encoding.skips, encoding.top))


def test_decoder_listens_to_latent_and_skips(backbone: Backbone) -> None:
    encoding = awake(backbone).encode(*pair(small(backbone)))
    ddf = backbone.decode(encoding.skips, encoding.top)
    noise = torch.randn(encoding.top.shape, generator=torch.Generator().manual_seed(2))
    assert difference(backbone.decode(encoding.skips, encoding.top + noise), ddf) > 0.005 * ddf.abs().max()
    for i, skip in enumerate(encoding.skips):
        noisy = skip + torch.randn(skip.shape, generator=torch.Generator().manual_seed(3))
        others = [*encoding.skips[:i], noisy, *encoding.skips[i + 1 :]]
        assert difference(backbone.decode(others, encoding.top), ddf) > 0.005 * ddf.abs().max(), f"skip {i}"


def test_order_of_the_pair_matters(backbone: Backbone) -> None:
    moving, fixed = pair(small(awake(backbone)))
    assert difference(backbone(moving, fixed), backbone(fixed, moving)) > 1e-3


def test_pairs_of_a_batch_do_not_mix(backbone: Backbone) -> None:
    moving, fixed = pair(small(awake(backbone)), batch=3)
    alone = torch.cat([backbone(moving[i : i + 1], fixed[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(backbone(moving, fixed), alone, atol=1e-4, rtol=1e-4)


def test_latents_of_one_pair_share_its_skips(backbone: Backbone) -> None:
    """Trajectories: J latents against skips of batch 1 are J calls."""
    net = MorphSeekNet(awake(backbone))
    moving, fixed = pair(small(backbone))
    ddf = torch.zeros(1, 3, *small(backbone))
    encoding = net.observe(moving, fixed, ddf)
    noise = torch.randn(3, *encoding.top.shape[1:], generator=torch.Generator().manual_seed(2))
    together = net.act(encoding.skips, encoding.top + noise, ddf)
    alone = torch.cat([net.act(encoding.skips, encoding.top + one, ddf) for one in noise[:, None]])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)
    assert difference(alone[0], alone[1]) > 1e-3


@pytest.mark.parametrize("size", [(0, 0, 0), (0, 1, 0), (1, 0, -1)], ids=["stride", "one more", "odd"])
def test_any_size_from_the_stride_on(backbone: Backbone, size: tuple[int, int, int]) -> None:
    """Sizes are relative to (stride, stride, 2 stride), the first to a single stride."""
    d, h, w = (backbone.stride + n for n in size)
    if size == (0, 0, 0) and getattr(backbone, "one_voxel_fails", False):
        pytest.skip("MONAI's instance normalisation; see test_monai_unet.py")
    shape = (d, h, w) if size == (0, 0, 0) else (d, h, w + backbone.stride)
    ddf = MorphSeekNet(awake(backbone), steps=1)(image(shape))
    assert ddf.shape == (1, 3, *shape)
    assert torch.isfinite(ddf).all()
    assert ddf.abs().max() > 1e-3


def test_untrained_network_is_the_identity(backbone: Backbone) -> None:
    ddf = MorphSeekNet(backbone, steps=3)(image(small(backbone)))
    assert 0 < ddf.abs().max() < 1e-2


def test_every_parameter_gets_a_gradient(backbone: Backbone) -> None:
    """The biases before a normalisation get zero: it takes them away."""
    awake(backbone)(*pair(small(backbone))).square().sum().backward()
    unused = [name for name, p in backbone.named_parameters() if p.grad is None]
    silent = [name for name, p in backbone.named_parameters() if p.dim() > 1 and not p.grad.any()]  # type: ignore[union-attr]
    assert (unused, silent) == ([], [])


def test_field_is_float32_under_autocast(backbone: Backbone) -> None:
    moving, fixed = pair(small(awake(backbone)))
    expected = backbone(moving, fixed)
    with torch.autocast("cpu", torch.bfloat16):
        ddf = backbone(moving, fixed)
    assert ddf.dtype == torch.float32
    assert 0 < difference(ddf, expected) < 0.2 * expected.abs().max() + 0.05


def test_torchscript(backbone: Backbone, tmp_path: Path) -> None:
    net = MorphSeekNet(awake(backbone), steps=3).eval()
    torch.jit.save(torch.jit.script(net), tmp_path / "model.ts")
    scripted = torch.jit.load(tmp_path / "model.ts")
    for given in (image(small(backbone)), image(small(backbone, shorter=1), batch=2)):
        expected = net(given)
        assert expected.abs().max() > 0.01
        torch.testing.assert_close(scripted(given), expected, atol=1e-4, rtol=0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_onnx(backbone: Backbone, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    steps = 2 if isinstance(backbone, VoxelMorph) else 1  # the graph unrolls them: two show how steps compose
    net = MorphSeekNet(awake(backbone), steps=steps).eval()
    given = image(small(backbone, shorter=1))
    program = torch.onnx.export(net, (torch.zeros_like(given),), dynamo=True, opset_version=20, verbose=False)
    assert program is not None
    program.save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    (ddf,) = session.run(None, {session.get_inputs()[0].name: given.numpy()})
    torch.testing.assert_close(torch.from_numpy(ddf), net(given), atol=1e-4, rtol=0)


def test_policy_head_costs_less_than_three_percent(capsys: pytest.CaptureFixture[str]) -> None:
    shares = {}
    with capsys.disabled():
        print(f"\n{'backbone':22}{'parameters':>12}{'head':>12}{'share':>8}")
        for name, build in PUBLISHED.items():
            with torch.device("meta"):
                net = MorphSeekNet(build())
            assert net.head is not None
            backbone, head = (sum(p.numel() for p in part.parameters()) for part in (net.backbone, net.head))
            shares[name] = head / backbone
            print(f"{name:22}{backbone:12,}{head:12,}{shares[name]:8.2%}")
    assert {name: share for name, share in shares.items() if not 0 < share < 0.03} == {}
