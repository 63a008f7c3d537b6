"""docs/benchmarks/quality.py: what it measures, that it goes on where it stopped, and that the page shows its table."""

from __future__ import annotations

import importlib
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from morphseek_monai.networks import MorphSeekNet, VoxelMorph

BENCHMARKS = Path(__file__).resolve().parents[2] / "docs" / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))  # where Python puts it when the script is run
quality = importlib.import_module("quality")

CONFIG = """{
    "imports": ["$import morphseek_monai.data as ms_data"],
    "device": "cpu", "amp": false, "spatial_size": [32, 32, 32],
    "network": {
        "_target_": "morphseek_monai.networks.MorphSeekNet",
        "backbone": {
            "_target_": "morphseek_monai.networks.VoxelMorph",
            "encoder": [4, 8], "decoder": [8, 8], "extras": [4], "integration_steps": 2
        },
        "steps": 2
    },
    "dataset": {
        "_target_": "morphseek_monai.data.PairDataset",
        "data": "$ms_data.validation_pairs(@dataset_dir)",
        "transform": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": ["image", "label"], "ensure_channel_first": true},
                {"_target_": "ScaleIntensityd", "keys": "image"},
                {
                    "_target_": "Resized",
                    "keys": ["image", "label"],
                    "spatial_size": "@spatial_size",
                    "mode": ["area", "nearest"]
                }
            ]
        }
    }
}"""

@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "configs" / "inference.json").write_text(CONFIG, encoding="utf-8")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = VoxelMorph((4, 8), (8, 8), (4,), integration_steps=2)
        torch.nn.init.normal_(backbone.flow.weight, std=0.05)
        torch.save(MorphSeekNet(backbone, steps=2).state_dict(), folder / "models" / "model.pt")
    return folder


def command(bundle: Path, phantom: Path, settings: str, *more: str) -> list[str]:
    out = str(bundle / "quality.csv")
    return [str(bundle), "--dataset_dir", str(phantom), "--out", out, "--settings", settings, *more]


def test_measures_and_goes_on(bundle: Path, phantom: Path) -> None:
    quality.main(command(bundle, phantom, "default,4 samples", "--pairs", "1"))
    first = quality.read_rows(bundle / "quality.csv")
    assert [row["setting"] for row in first] == ["default", "4 samples"]
    quality.main(command(bundle, phantom, "default,steps auto", "--pairs", "1"))
    rows = quality.read_rows(bundle / "quality.csv")
    assert [row["setting"] for row in rows] == ["default", "4 samples", "steps auto"]
    assert rows[0]["cpu_seconds"] == first[0]["cpu_seconds"]  # not measured again
    default, samples, steps = rows
    assert math.isnan(default["spread_mm"]) and math.isnan(steps["spread_mm"])
    assert samples["spread_mm"] > 0 and -1 <= samples["spread_rank"] <= 1
    score = [row["similarity"] - row["njd_percent"] / 100 for row in rows]
    assert score[1] >= score[0] - 1e-4 and score[2] >= score[0] - 1e-4
    assert all(0 < row["dice_percent"] < 100 and row["cpu_seconds"] > 0 for row in rows)


def test_unknown_settings_are_named(bundle: Path, phantom: Path) -> None:
    with pytest.raises(ValueError, match=r"--settings must be of \['default', .*got \['best'\]"):
        quality.main(command(bundle, phantom, "default,best"))


def test_rank_is_1_where_the_spread_shows_the_errors_and_minus_1_where_it_hides_them() -> None:
    generator = torch.Generator().manual_seed(0)
    label = torch.ones(1, 2, 16, 16, 32, dtype=torch.uint8)
    share = torch.arange(16).view(2, 2, 4).repeat_interleave(8, 0).repeat_interleave(8, 1).repeat_interleave(8, 2) / 16
    wrong = torch.rand(16, 16, 32, generator=generator) < share
    label[0, 0][wrong] = 2
    nowhere = torch.zeros(1, 3, 16, 16, 32)
    assert quality.spread_rank(share[None, None], nowhere, label) > 0.95
    assert quality.spread_rank(1 - share[None, None], nowhere, label) < -0.95


def test_background_does_not_count_as_right() -> None:
    label = torch.ones(1, 2, 16, 16, 16, dtype=torch.uint8)
    label[:, :, :8] = 0
    label[0, 0, 8:, :8, :8] = 2
    spread = torch.zeros(1, 1, 16, 16, 16)
    spread[0, 0, :8] = 5.0  # large where nothing is labelled
    spread[0, 0, 8:, :8, :8] = 1.0
    assert quality.spread_rank(spread, torch.zeros(1, 3, 16, 16, 16), label) == pytest.approx(1.0)


def test_table_averages_over_the_pairs() -> None:
    row: dict[str, Any] = dict.fromkeys(quality.Row._fields, 1.0) | {"setting": "default", "spread_rank": math.nan}
    lines = quality.table([{**row, "setting": "steps auto"}, row, {**row, "dice_percent": 2.0}]).splitlines()
    assert lines[2].startswith("| default | 2 | 1.50 | 1.000 |") and lines[2].endswith("| 1.00 |  |")
    assert lines[3].startswith("| steps auto | 1 | 1.00 |")


def test_the_page_shows_the_table_of_the_results() -> None:
    page = (BENCHMARKS / "quality.md").read_text(encoding="utf-8")
    for line in quality.table(quality.read_rows(BENCHMARKS / "results" / "quality.csv")).splitlines():
        assert line in page
