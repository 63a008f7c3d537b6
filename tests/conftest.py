"""Small networks, pairs and data that the tests of several folders share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from morphseek_monai.data import write_phantom
from morphseek_monai.networks import MorphSeekNet, VoxelMorph

MakeNet = Callable[..., MorphSeekNet]
MakeBatch = Callable[..., dict[str, Any]]


@pytest.fixture
def make_net() -> MakeNet:
    """``make_net(steps=1, policy="gaussian", flow_std=0.5, seed=0)``: a few hundred weights, stride 4, moves by voxels.

    An untrained network is the identity, which would hide most faults; ``flow_std`` wakes its last layer.
    """

    def make(steps: int = 1, flow_std: float = 0.5, seed: int = 0, **kwargs: Any) -> MorphSeekNet:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            backbone = VoxelMorph((4, 8), (8, 8), (4,), integration_steps=2)
            torch.nn.init.normal_(backbone.flow.weight, std=flow_std)
            return MorphSeekNet(backbone, steps=steps, **kwargs)

    return make


@pytest.fixture
def make_batch() -> MakeBatch:
    """``make_batch(pairs=1, size=16, shift=2.0, labelled=True, first=0)``: blobs, the moving one off by ``shift``.

    Blob ``first + i`` has its own place, so that pairs differ. The field that registers a pair is ``+shift`` on
    every axis. Labels: 1 is the blob's core, 2 its rim.
    """

    def blob(size: int, centre: Tensor) -> Tensor:
        grid = torch.stack(torch.meshgrid(*[torch.arange(float(size))] * 3, indexing="ij"))
        squared = (grid - centre.view(3, 1, 1, 1)).square().sum(0)
        return torch.exp(-squared / (2 * (size / 5) ** 2))

    def make(
        pairs: int = 1, size: int = 16, shift: float = 2.0, labelled: bool | list[bool] = True, first: int = 0
    ) -> dict[str, Any]:
        images = []
        for i in range(first, first + pairs):
            middle = torch.full((3,), (size - 1 - shift) / 2)
            middle += torch.tensor([i % 2, i // 2 % 2, i // 4 % 2]) - 0.25 * (i > 0)
            images.append(torch.stack([blob(size, middle + shift), blob(size, middle)]))
        image = torch.stack(images)
        return {
            "image": image,
            "label": (image > 0.7).byte() + 2 * ((image > 0.35) & (image <= 0.7)).byte(),
            "labelled": torch.tensor([labelled] * pairs if isinstance(labelled, bool) else labelled),
            "moving_id": [f"moving{i}" for i in range(first, first + pairs)],
            "fixed_id": [f"fixed{i}" for i in range(first, first + pairs)],
        }

    return make


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four subjects of 32 x 32 x 32 voxels: two to train, two that make both validation pairs."""
    folder = tmp_path_factory.mktemp("phantom")
    write_phantom(folder, subjects=4, shape=(32, 32, 32))
    return folder
