"""Rounds of federated learning by MONAI's ``MonaiAlgo``, the client that NVFLARE runs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.fl.client import MonaiAlgo
from monai.fl.utils.constants import ExtraItems, ModelType, WeightType
from monai.fl.utils.exchange_object import ExchangeObject
from torch import Tensor

CONFIGS = Path(__file__).resolve().parents[2] / "bundles" / "morphseek_phantom" / "configs"
SMALL: dict[str, Any] = {
    "device": "$torch.device('cpu')",
    "amp": False,
    "spatial_size": [16, 16, 16],
    "backbone": {"_target_": "morphseek_monai.networks.VoxelMorph", "encoder": [4, 8], "decoder": [8, 8]},
    "pairs_per_epoch": 1,
    "trajectories": 2,
    "val_interval": 1,
}


@pytest.mark.slow
def test_rounds(phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, elsewhere = tmp_path / "bundle", tmp_path / "elsewhere"
    shutil.copytree(CONFIGS, root / "configs")
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)  # the first of MonaiAlgo's two initialisations has the config's own bundle_root, "."
    settings = {"dataset_dir": str(phantom), **SMALL}
    client = MonaiAlgo(bundle_root=str(root), train_kwargs=dict(settings), eval_kwargs=dict(settings))
    client.initialize({ExtraItems.CLIENT_NAME: "hospital"})
    weights: dict[str, Tensor] = {name: value.clone() for name, value in client.trainer.network.state_dict().items()}

    for epoch in (1, 2):
        client.train(ExchangeObject(weights=weights))
        update = client.get_weights()
        assert update.weight_type == WeightType.WEIGHT_DIFF
        assert update.weights.keys() == weights.keys()
        assert any(change.any() for change in update.weights.values())
        assert client.trainer.state.epoch == epoch
        weights = {name: value + update.weights[name] for name, value in weights.items()}
        metrics = client.evaluate(ExchangeObject(weights=weights)).metrics
        assert 0.1 < metrics["val_mean_dice"] < 1
        assert "val_hd95" in metrics

    torch.testing.assert_close(dict(client.trainer.network.state_dict()), weights)
    best = client.get_weights({ExtraItems.MODEL_TYPE: ModelType.BEST_MODEL})
    assert best.weights.keys() == weights.keys()
    client.finalize()
    assert not list(elsewhere.iterdir())
