"""The command that the bundle's README gives, in a process of its own, with the bundle's folder as it ships."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from ..programs import run

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_training(tmp_path: Path) -> None:
    """The phantom bundle needs no data; its defaults are relative to the folder the command is run from."""
    root = tmp_path / "bundle"
    shutil.copytree(
        ROOT / "bundles" / "morphseek_phantom", root, ignore=shutil.ignore_patterns("models", "data", "eval")
    )
    command = ["-m", "monai.bundle", "run", "training", "--config_file", "configs/train.json"]
    command += ["--subjects", "4", "--shape", "[32,32,32]", "--spatial_size", "[16,16,16]", "--pairs_per_epoch", "1"]
    command += ["--warmup_epochs", "1", "--epochs", "1", "--trajectories", "2", "--amp", "False", "--val_interval", "1"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    result = run(command, root, environment)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "Epoch[1] Metrics -- val_mean_dice" in result.stdout
    assert len(list((root / "data" / "imagesTr").iterdir())) == 4
    assert {path.name for path in (root / "models").iterdir()} == {
        "model.pt",
        "checkpoint_warmup.pt",
        "checkpoint_grpo.pt",
    }
    assert (root / "eval" / "curves.csv").read_text().count("\n") == 3
    assert '"--subjects"' in (root / "eval" / "provenance_grpo.json").read_text()
