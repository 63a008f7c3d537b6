"""MONAI's own tools on the network that the bundles ship: metadata, TorchScript, ONNX."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ckpt_export, onnx_export, verify_net_in_out
from torch import Tensor, nn


@pytest.fixture(scope="module")
def network(bundle: Path) -> nn.Module:
    """``network_def`` of inference.json, displacing by voxels."""
    parser = ConfigParser()
    parser.read_config(bundle / "configs" / "inference.json")
    net = parser.get_parsed_content("network_def")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        nn.init.normal_(net.backbone.flow.weight, std=0.1)
    net.backbone.flow.bias.data = torch.tensor([0.3, -0.4, 0.2])
    return net.eval()


@pytest.fixture
def paths(bundle: Path, network: nn.Module, tmp_path: Path) -> dict[str, str]:
    """Arguments of the export commands."""
    torch.save(network.state_dict(), tmp_path / "model.pt")
    return {
        "ckpt_file": str(tmp_path / "model.pt"),
        "meta_file": str(bundle / "configs" / "metadata.json"),
        "config_file": str(bundle / "configs" / "inference.json"),
    }


def pair(size: int) -> Tensor:
    return torch.rand(1, 2, size, size, size, generator=torch.Generator().manual_seed(0))


def predict(network: Any, image: Tensor) -> Tensor:
    with torch.no_grad():
        ddf: Tensor = network(image)
    return ddf


@pytest.mark.parametrize("config", ["train", "inference"])
@pytest.mark.parametrize("n", [1, 2])
def test_metadata_describes_the_network(bundle: Path, config: str, n: int) -> None:
    configs = bundle / "configs"
    verify_net_in_out("network_def", str(configs / "metadata.json"), str(configs / f"{config}.json"), device="cpu", n=n)


def test_torchscript(paths: dict[str, str], network: nn.Module, tmp_path: Path) -> None:
    ckpt_export("network_def", str(tmp_path / "model.ts"), **paths)
    extra = {"metadata.json": "", "inference.json": ""}
    scripted = torch.jit.load(str(tmp_path / "model.ts"), _extra_files=extra)
    for size in (16, 24):
        expected = predict(network, pair(size))
        torch.testing.assert_close(predict(scripted, pair(size)), expected, rtol=1e-4, atol=1e-4)
        assert expected.abs().max() > 0.5
    for name, text in extra.items():
        written = json.loads(text)
        shipped = json.loads(Path(paths["config_file"]).with_name(name).read_text())
        assert {key: written[key] for key in shipped} == shipped


def test_onnx(paths: dict[str, str], network: nn.Module, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    onnx_export("network_def", str(tmp_path / "model.onnx"), **paths)
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    (got,) = session.run(None, {given.name: pair(16).numpy()})
    np.testing.assert_allclose(got, predict(network, pair(16)).numpy(), rtol=1e-3, atol=1e-3)
