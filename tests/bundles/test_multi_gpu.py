"""The multi-GPU overlays in two processes on the CPU, with what ``torchrun`` gives them: as one with the same batch."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from .. import programs

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "bundles" / "morphseek_phantom" / "configs"
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
SGD = {"_target_": "torch.optim.SGD", "params": "$@network.parameters()", "lr": 0.1}  # Adam would amplify rounding
SMALL: dict[str, Any] = {
    "device": "$torch.device('cpu')",
    "amp": False,
    "spatial_size": [16, 16, 16],
    "backbone": {"_target_": "morphseek_monai.networks.VoxelMorph", "encoder": [4, 8], "decoder": [8, 8]},
    "pairs_per_epoch": 4,
    "warmup_epochs": 1,
    "epochs": 1,
    "val_interval": 1,
    "trajectories": 2,
    "optimizer": SGD,
    "warmup#optimizer": SGD,
}
LAUNCHED = ["RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "OMP_NUM_THREADS"]
SCRIPT = f"""
import json, os
with open("rank" + os.environ["RANK"], "x") as file:
    json.dump({{name: os.environ.get(name) for name in {LAUNCHED}}}, file)
"""
Run = Callable[..., Path]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """``run(run_id, configs, processes=1, **settings)`` runs the bundle in processes of their own; returns its root."""

    def bundle(run_id: str, configs: list[str], processes: int = 1, **settings: Any) -> Path:
        root = tmp_path_factory.mktemp(f"{run_id}{processes}_")
        (root / "small.json").write_text(json.dumps(SMALL | settings))
        files = [str(CONFIGS / f"{name}.json") for name in configs] + [str(root / "small.json")]
        words = ["-m", "monai.bundle", "run", run_id, "--config_file", str(files)]
        words += ["--bundle_root", str(root), "--dataset_dir", str(phantom)]
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        if processes == 1:
            results = [programs.run(words, root, environment)]
        else:
            results = programs.run_ranks(words, processes, root, environment)
        for result in results:
            assert result.returncode == 0, result.stderr[-2000:]
        (root / "log.txt").write_text("".join(result.stdout for result in results))
        return root

    return bundle


@pytest.fixture(scope="module")
def trained(run: Run) -> tuple[Path, Path]:
    """One process with batches of two pairs; two processes with one each."""
    one = run("training", ["train"], batch_size=2)
    return one, run("training", ["train", "multi_gpu_train"], processes=2, batch_size=1)


def test_ranks_have_what_torchrun_gives(tmp_path: Path) -> None:
    """``programs.run_ranks``, here and in other tests, stands for ``torchrun``."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    given = []
    for launch in (lambda f: [programs.run([*TORCHRUN, script], f)], lambda f: programs.run_ranks([script], 2, f)):
        folder = tmp_path / str(len(given))
        folder.mkdir()
        assert [done.stderr for done in launch(folder) if done.returncode] == []
        given.append([json.loads((folder / f"rank{rank}").read_text()) for rank in (0, 1)])
    torchrun, ours = given
    for rank, (environment, expected) in enumerate(zip(ours, torchrun)):
        assert None not in expected.values() and environment["RANK"] == str(rank)
        assert int(environment.pop("MASTER_PORT")) > 0 < int(expected.pop("MASTER_PORT"))
        assert environment == expected


def test_training_is_that_of_one_process(trained: tuple[Path, Path]) -> None:
    one, two = (torch.load(root / "models" / "checkpoint_grpo.pt") for root in trained)
    torch.testing.assert_close(two["model"], one["model"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(two["loss"], one["loss"], rtol=1e-6, atol=0)
    assert two["best"]["best"] == pytest.approx(one["best"]["best"], abs=1e-4)


def test_rank_0_alone_writes_and_logs(trained: tuple[Path, Path]) -> None:
    one, two = (sorted(str(file.relative_to(root)) for file in root.rglob("*") if file.is_file()) for root in trained)
    assert [name for name in two if "tfevents" not in name] == [name for name in one if "tfevents" not in name]
    assert len(two) == len(one)
    assert (trained[1] / "log.txt").read_text().count("Epoch[1] Metrics -- val_mean_dice") == 2  # once a phase


def test_evaluation_is_that_of_one_process(run: Run, trained: tuple[Path, Path]) -> None:
    weights = {"ckpt_path": str(trained[0] / "models" / "model.pt")}
    configs = ["train", "evaluate"]
    roots = run("evaluating", configs, **weights), run("evaluating", [*configs, "multi_gpu_evaluate"], 2, **weights)

    def read(root: Path, name: str) -> list[list[str]]:
        with open(root / "eval" / "metrics" / name, newline="") as file:
            return sorted(row for row in csv.reader(file) if not row[0].startswith("val_seconds"))

    for name in ("metrics.csv", "val_mean_dice_raw.csv", "val_njd_percent_raw.csv"):
        one, two = (read(root, name) for root in roots)
        assert one == two
        assert len(one) >= 3
