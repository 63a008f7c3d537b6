"""What networks call in forward() compiles under TorchScript and exports to ONNX, for any spatial size."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from morphseek_monai.fields import compose, integrate_velocity, resize_ddf, warp

SIZES = [(6, 7, 8), (9, 5, 12)]


class WarpBorder(torch.nn.Module):
    def forward(self, image: torch.Tensor, ddf: torch.Tensor) -> torch.Tensor:
        return warp(image, ddf)


class WarpZeros(torch.nn.Module):
    def forward(self, image: torch.Tensor, ddf: torch.Tensor) -> torch.Tensor:
        return warp(image, ddf, padding="zeros")


class Compose(torch.nn.Module):
    def forward(self, image: torch.Tensor, ddf: torch.Tensor) -> torch.Tensor:
        return compose(ddf, ddf + image)


class Resize(torch.nn.Module):
    def forward(self, image: torch.Tensor, ddf: torch.Tensor) -> torch.Tensor:
        return resize_ddf(ddf, [2 * image.shape[2], image.shape[3], 3 * image.shape[4]])


class ResizeCorners(torch.nn.Module):
    def forward(self, image: torch.Tensor, ddf: torch.Tensor) -> torch.Tensor:
        return resize_ddf(ddf, [2 * image.shape[2], image.shape[3], 3 * image.shape[4]], align_corners=True)


class Integrate(torch.nn.Module):
    def forward(self, image: torch.Tensor, ddf: torch.Tensor) -> torch.Tensor:
        return integrate_velocity(ddf * image, steps=3)


MODULES = [WarpBorder, WarpZeros, Compose, Resize, ResizeCorners, Integrate]


def inputs(size: tuple[int, int, int], batch: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(sum(size))
    return torch.rand(1, 1, *size, generator=generator), torch.randn(batch, 3, *size, generator=generator)


@pytest.mark.parametrize("module", MODULES)
def test_torchscript(module: type[torch.nn.Module], tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(module()), tmp_path / "module.pt")
    scripted = torch.jit.load(tmp_path / "module.pt")
    for size in SIZES:
        for batch in (1, 2):
            image, ddf = inputs(size, batch)
            torch.testing.assert_close(scripted(image, ddf), module()(image, ddf))


def test_torchscript_refuses_a_single_slice() -> None:
    with pytest.raises(
        torch.jit.Error, match=r"warp\(\) 'ddf' must have at least 2 voxels per axis, got \[1, 3, 1, 4, 4\]"
    ):
        torch.jit.script(WarpBorder())(torch.zeros(1, 1, 1, 4, 4), torch.zeros(1, 3, 1, 4, 4))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("module", MODULES)
def test_onnx_with_dynamic_size(module: type[torch.nn.Module], tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    axes = {2 + axis: torch.export.Dim(name, min=2, max=512) for axis, name in enumerate("dhw")}
    program = torch.onnx.export(
        module(),
        inputs(SIZES[0]),
        dynamo=True,
        opset_version=20,
        dynamic_shapes={"image": axes, "ddf": axes},
        verbose=False,
    )
    assert program is not None
    program.save(tmp_path / "module.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "module.onnx", providers=["CPUExecutionProvider"])
    for size in SIZES:
        image, ddf = inputs(size)
        names = [node.name for node in session.get_inputs()]
        feed = {name: value.numpy() for name, value in (("image", image), ("ddf", ddf)) if name in names}
        (result,) = session.run(None, feed)
        torch.testing.assert_close(torch.from_numpy(result), module()(image, ddf), atol=1e-5, rtol=1e-5)
