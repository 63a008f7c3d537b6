"""A bundle through MONAI's ConfigWorkflow: a phantom of four subjects, a network of a few thousand weights."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigWorkflow
from monai.utils import set_determinism

from morphseek_monai.networks import MorphSeekNet, VoxelMorphL

FOLDER = Path(__file__).resolve().parents[2] / "bundles"
BACKBONE: dict[str, Any] = {"encoder": [4, 4, 8, 8], "decoder": [8, 8, 8, 4], "extras": [4], "forces": 0, "mind": 0}
SMALL: dict[str, Any] = {
    "num_labels": 13,
    "amp": False,
    "device": "$torch.device('cpu')",
    **{f"backbone#{name}": value for name, value in BACKBONE.items()},
}
QUICK: dict[str, Any] = {"trajectories": 2, "pairs_per_epoch": 1, "warmup_epochs": 1, "epochs": 1, "val_interval": 1}
PICTURES = {"validate#handlers#3#_disabled_": False}

MakeWorkflow = Callable[..., ConfigWorkflow]


@pytest.fixture(autouse=True)
def tidy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A bundle seeds all generators, extends ``sys.path`` and shows the cause of an error last."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    yield
    set_determinism(None)


@pytest.fixture(scope="session")
def bundle() -> Path:
    """The phantom bundle; all bundles are made from one set of configs, test_every_bundle.py has the others."""
    return FOLDER / "morphseek_phantom"


@pytest.fixture(scope="session")
def read_config() -> Callable[[Path, str], dict[str, Any]]:
    """``read_config(bundle, "train")``: one JSON file."""

    def read(bundle: Path, name: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((bundle / "configs" / f"{name}.json").read_text(encoding="utf-8"))
        return content

    return read


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the small network that displaces by voxels; an untrained one is the identity, which hides faults."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = MorphSeekNet(VoxelMorphL(**BACKBONE), steps=3)
        torch.nn.init.normal_(net.backbone.flow.weight, std=0.3)
        net.backbone.flow.bias.data = torch.tensor([0.3, -0.4, 0.2])
    path = tmp_path_factory.mktemp("weights") / "model.pt"
    torch.save(net.state_dict(), path)
    return path


@pytest.fixture(scope="session")
def make_workflow(phantom: Path) -> MakeWorkflow:
    """``make_workflow(bundle, root, "train", "evaluate", **overrides)``: an initialised workflow; writes to ``root``.

    Overrides of composite settings carry their id as a dictionary entry: ``**{"train#dataset#data": [...]}``. Training
    draws no picture of its validations, which would take as long as the training, unless ``**PICTURES`` is given.
    """

    def make(bundle: Path, root: Path, *configs: str, **overrides: Any) -> ConfigWorkflow:
        inference = configs == ("inference",)
        drawn = dict.fromkeys(PICTURES, True) if configs == ("train",) else {}
        workflow = ConfigWorkflow(
            config_file=[str(bundle / "configs" / f"{name}.json") for name in configs],
            workflow_type="infer" if inference else "train",
            logging_file=False,
            bundle_root=str(root),
            **{"dataset_dir": str(phantom)} | SMALL | ({} if inference else QUICK) | drawn | overrides,
        )
        workflow.initialize()
        return workflow

    return make
