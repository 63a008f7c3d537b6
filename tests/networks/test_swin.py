"""Swin stages against windows cut by hand, attention written out, and MONAI's own Swin layers."""

from __future__ import annotations

import math
from itertools import pairwise, product
from pathlib import Path

import pytest
import torch
from monai.networks.nets.swin_unetr import BasicLayer
from torch import Tensor, nn

from morphseek_monai.networks.swin import ChannelNorm, SwinStage, WindowAttention, Windows, relative_positions

Size = tuple[int, int, int]
WINDOW = (4, 2, 3)
SIZES = [(8, 4, 6), (4, 2, 3), (9, 5, 7), (3, 1, 2), (5, 1, 3), (1, 1, 1)]


def make_stage(
    depth: int = 2, window: Size = WINDOW, qkv_bias: bool = True, drop_path: float = 0.0, seed: int = 0
) -> SwinStage:
    """Weights of an order of 1: with the initial ones all voxels would get nearly the same attention."""
    torch.manual_seed(seed)
    stage = SwinStage(6, depth, 3, window, qkv_bias, [drop_path] * depth).eval()
    for parameter in stage.parameters():
        nn.init.normal_(parameter, std=0.5)
    return stage


def features(size: Size, batch: int = 2) -> Tensor:
    return torch.randn(batch, 6, *size, generator=torch.Generator().manual_seed(1))


def mute(block: nn.Module) -> None:
    """Leave the residual path alone: the block becomes the identity."""
    for layer in (block.attention.projection, block.mlp[2]):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)


def parts(length: int, window: int, shifted: bool) -> list[slice]:
    """The parts of an axis whose voxels see each other."""
    first = window // 2 if shifted and length >= window else 0
    return [slice(a, b) for a, b in pairwise(sorted({0, *range(first, length, window), length}))]


@pytest.mark.parametrize("shifted", [False, True], ids=["even block", "odd block"])
@pytest.mark.parametrize("size", SIZES)
def test_each_part_of_the_map_is_attended_alone(size: Size, shifted: bool) -> None:
    """Whatever padding, shift and mask do together, a block is full attention within the parts of the map."""
    stage, single = make_stage(), make_stage(depth=1)
    mute(stage.blocks[0 if shifted else 1])
    single.blocks[0].load_state_dict(stage.blocks[1 if shifted else 0].state_dict())
    x = features(size)
    expected = torch.empty_like(x)
    for d, h, w in product(*(parts(n, k, shifted) for n, k in zip(size, WINDOW))):
        expected[:, :, d, h, w] = single(x[:, :, d, h, w])  # never longer than the window: one window, not shifted
    assert (expected - x).abs().max() > 0.1
    torch.testing.assert_close(stage(x), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("used", [(3, 2, 4), (2, 2, 3), (1, 1, 1)], ids=str)
def test_attention_written_out(used: Size) -> None:
    """One window, as large as the table's or smaller: softmax(q k / sqrt(d) + bias of the offset) v."""
    torch.manual_seed(0)
    largest, heads, c = (3, 2, 4), 3, 6
    attention = WindowAttention(c, heads, largest, qkv_bias=True)
    nn.init.normal_(attention.bias_table)
    nn.init.normal_(attention.qkv.weight, std=0.5)
    table = attention.bias_table.view(5, 3, 7, heads)
    places = list(product(*map(range, used)))
    x = torch.randn(2, len(places), c)
    q, k, v = attention.qkv(x).split(c, dim=-1)
    expected = torch.empty_like(x)
    for i, here in enumerate(places):
        for head in range(heads):
            one = slice(2 * head, 2 * head + 2)
            bias = torch.stack(
                [
                    table[here[0] - there[0] + 2, here[1] - there[1] + 1, here[2] - there[2] + 3, head]
                    for there in places
                ]
            )
            scores = torch.einsum("bc,bnc->bn", q[:, i, one], k[..., one]) / math.sqrt(2) + bias
            expected[:, i, one] = torch.einsum("bn,bnc->bc", scores.softmax(-1), v[..., one])
    positions = relative_positions(list(used), list(largest), torch.device("cpu"))
    found = attention(x, Windows(list(used), [0, 0, 0], positions, None))
    torch.testing.assert_close(found, attention.projection(expected), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("qkv_bias", [False, True])
def test_equals_monai_where_windows_fit(qkv_bias: bool) -> None:
    """MONAI's padding takes part in the attention, and it does not shift a single window: both are kept out here."""
    ours = make_stage(depth=3, qkv_bias=qkv_bias)
    monai = BasicLayer(6, depth=3, num_heads=3, window_size=WINDOW, drop_path=[0.0] * 3, qkv_bias=qkv_bias).eval()
    names = {
        "attention.bias_table": "attn.relative_position_bias_table",
        "attention.qkv": "attn.qkv",
        "attention.projection": "attn.proj",
        "mlp.0": "mlp.linear1",
        "mlp.2": "mlp.linear2",
    }
    weights = {}
    for name, value in ours.state_dict().items():
        for old, new in names.items():
            name = name.replace(old, new)
        weights[name] = value
    left = monai.load_state_dict(weights, strict=False)
    assert not left.unexpected_keys
    assert all(name.endswith("relative_position_index") for name in left.missing_keys)
    x = features((8, 6, 6))
    torch.testing.assert_close(ours(x), monai(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_maps_of_a_batch_do_not_mix(size: Size) -> None:
    stage, x = make_stage(), features(size, batch=3)
    torch.testing.assert_close(stage(x), torch.cat([stage(one) for one in x.split(1)]), atol=1e-5, rtol=1e-5)


def test_two_blocks_join_neighbouring_windows() -> None:
    """What an even block leaves apart the odd one brings together, but never the two ends of the map."""
    stage, x = make_stage(), features((12, 2, 3), batch=1)
    changed = x.clone()
    changed[:, :, 3] = changed[:, :, 3].flip(1)  # last slice of the first window
    reached = (stage(changed) - stage(x)).abs().amax(dim=(0, 1, 3, 4)) > 1e-4
    assert reached.tolist() == [True] * 6 + [False] * 6
    mute(stage.blocks[1])
    reached = (stage(changed) - stage(x)).abs().amax(dim=(0, 1, 3, 4)) > 1e-4
    assert reached.tolist() == [True] * 4 + [False] * 8


@pytest.mark.parametrize("size", SIZES)
def test_gradients_are_finite(size: Size) -> None:
    """Masked scores are minus infinity; a row with nothing else would be NaN."""
    stage, x = make_stage(), features(size).requires_grad_()
    stage(x).square().sum().backward()
    gradients = {name: p.grad for name, p in [("x", x), *stage.named_parameters()]}
    assert not [name for name, g in gradients.items() if g is None or not torch.isfinite(g).all()]


@pytest.mark.parametrize("size", SIZES)
def test_autocast_stays_close(size: Size) -> None:
    stage, x = make_stage(), features(size)
    with torch.autocast("cpu", torch.bfloat16):
        low = stage(x)
    torch.testing.assert_close(low.float(), stage(x), atol=0.3, rtol=0.05)


def test_stochastic_depth_drops_whole_samples_in_training() -> None:
    stage, x = make_stage(depth=1, drop_path=0.25), features(WINDOW, batch=1).expand(400, -1, -1, -1, -1)
    mute(stage.blocks[0])
    nn.init.normal_(stage.blocks[0].attention.projection.weight)
    residual = stage(x[:1]) - x[:1]
    assert torch.equal(stage(x), stage(x))
    torch.manual_seed(0)
    dropped = stage.train()(x) - x
    share = dropped / (residual / 0.75)
    kept = share.mean(dim=(1, 2, 3, 4)).round()
    assert set(kept.tolist()) == {0.0, 1.0}
    assert abs(kept.mean() - 0.75) < 0.1
    torch.testing.assert_close(dropped, kept.view(-1, 1, 1, 1, 1) * residual / 0.75, atol=1e-5, rtol=1e-5)
    torch.manual_seed(0)
    assert torch.equal(stage(x) - x, dropped)


def test_torchscript(tmp_path: Path) -> None:
    stage = make_stage()
    torch.jit.save(torch.jit.script(stage), tmp_path / "stage.ts")
    scripted = torch.jit.load(tmp_path / "stage.ts")
    for size in SIZES:
        torch.testing.assert_close(scripted(features(size)), stage(features(size)), atol=1e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("size", [(9, 5, 7), (3, 2, 6)], ids=str)
def test_onnx(size: Size, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    stage, x = make_stage(), features(size)
    program = torch.onnx.export(stage, (torch.zeros_like(x),), dynamo=True, opset_version=20, verbose=False)
    assert program is not None
    program.save(tmp_path / "stage.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "stage.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), stage(x), atol=1e-4, rtol=1e-4)


def test_bias_table_starts_small_and_within_two_deviations() -> None:
    torch.manual_seed(0)
    table = SwinStage(8, 1, 8, (5, 5, 5), False, [0.0]).blocks[0].attention.bias_table
    assert table.shape == (9**3, 8)
    assert 0.015 < table.std() < 0.021


def test_channel_norm_is_layer_norm_of_each_voxel() -> None:
    norm = ChannelNorm(6)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = features((2, 3, 4))
    expected = torch.empty_like(x)
    for d, h, w in product(range(2), range(3), range(4)):
        expected[:, :, d, h, w] = nn.LayerNorm.forward(norm, x[:, :, d, h, w])
    torch.testing.assert_close(norm(x), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": 4}, r"'heads' must divide 'channels' \(6\), got 4"),
        ({"heads": 0}, r"'heads' must divide 'channels' \(6\), got 0"),
        ({"window": (4, 4)}, r"'window' must be three positive sizes, got \(4, 4\)"),
        ({"window": (4, 0, 4)}, r"'window' must be three positive sizes, got \(4, 0, 4\)"),
        ({"drop_path": [0.1]}, r"'drop_path' must be one probability in \[0, 1\) per block \(2\), got \(0.1,\)"),
        ({"drop_path": [0.1, 1.0]}, r"'drop_path' must be .* got \(0.1, 1.0\)"),
    ],
)
def test_refuses(change: dict[str, object], message: str) -> None:
    given = {"channels": 6, "depth": 2, "heads": 3, "window": WINDOW, "qkv_bias": True, "drop_path": [0.0, 0.0]}
    with pytest.raises(ValueError, match=r"SwinStage\(\) " + message):
        SwinStage(**{**given, **change})  # type: ignore[arg-type]
