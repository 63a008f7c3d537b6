"""The deterministic network leaves Python: TorchScript and ONNX."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from morphseek_monai.networks import Backbone, MorphSeekNet, VoxelMorph, VoxelMorphL

BACKBONES: list[Callable[[], Backbone]] = [
    lambda: VoxelMorph((4, 8), (8, 8), (4,), integration_steps=2),
    lambda: VoxelMorphL((4, 8), (8, 8), (4,)),
]
SIZES = [(16, 16, 16), (9, 18, 23)]


def awake(backbone: Callable[[], Backbone], policy: bool, steps: int) -> MorphSeekNet:
    torch.manual_seed(0)
    net = MorphSeekNet(backbone(), steps=steps, policy=policy).eval()
    torch.nn.init.normal_(net.backbone.flow.weight, std=0.2)
    return net


def image(size: tuple[int, int, int], batch: int = 1) -> Tensor:
    return torch.rand(batch, 2, *size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("policy", [True, False])
@pytest.mark.parametrize("backbone", BACKBONES, ids=["VoxelMorph", "VoxelMorphL"])
def test_torchscript(backbone: Callable[[], Backbone], policy: bool, tmp_path: Path) -> None:
    net = awake(backbone, policy, steps=3)
    torch.jit.save(torch.jit.script(net), tmp_path / "model.ts")
    scripted = torch.jit.load(tmp_path / "model.ts")
    for size in SIZES:
        for batch in (1, 2):
            expected = net(image(size, batch))
            assert expected.abs().max() > 0.1
            torch.testing.assert_close(scripted(image(size, batch)), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("backbone", BACKBONES, ids=["VoxelMorph", "VoxelMorphL"])
@pytest.mark.parametrize("size", SIZES, ids=["multiple of the stride", "padded"])
def test_onnx(backbone: Callable[[], Backbone], size: tuple[int, int, int], tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    net = awake(backbone, policy=True, steps=3)
    program = torch.onnx.export(net, (torch.zeros(1, 2, *size),), dynamo=True, opset_version=20, verbose=False)
    assert program is not None
    program.save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    (ddf,) = session.run(None, {session.get_inputs()[0].name: image(size).numpy()})
    torch.testing.assert_close(torch.from_numpy(ddf), net(image(size)), atol=1e-4, rtol=0)
