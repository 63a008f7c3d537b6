from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from morphseek_monai.doctor import cost as cost_module
from morphseek_monai.doctor.cost import Cost, estimate_cost, judge_cost, machine_memory
from morphseek_monai.doctor.measure_cost import measure, random_pairs
from morphseek_monai.doctor.training_config import TrainingConfig

from .. import programs

PHANTOM = str(Path(__file__).resolve().parents[2] / "bundles" / "morphseek_phantom" / "configs" / "train.json")
SMALL = {
    "backbone#encoder": [4, 4, 4],
    "backbone#decoder": [4, 4, 4],
    "backbone#extras": [4],
    "steps": 1,
    "trajectories": 2,
    "warmup_steps": 1,
    "pairs_per_epoch": 4,
    "warmup_epochs": 2,
    "epochs": 3,
}
GIB = 2**30


def config(**overrides: Any) -> TrainingConfig:
    return TrainingConfig([PHANTOM], {**SMALL, **overrides})


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Costs of a machine that takes 10 us and 1 kB per voxel, 1 GiB for the program and 2 GiB for the weights."""
    asked: list[list[int]] = []

    def run(config: Any, size: Sequence[int], phases: list[str], limit: float) -> dict[str, Any]:
        asked.append(list(size))
        voxels = size[0] * size[1] * size[2]
        return {
            "seconds": dict.fromkeys(phases, voxels / 1e5),
            "device": "cpu",
            "peak": 3 * GIB + 1000 * voxels,
            "least": {"voxels": 16**3, "peak": 3 * GIB + 1000 * 16**3},
        }

    monkeypatch.setattr(cost_module, "_measure", run)
    monkeypatch.setattr(cost_module, "machine_memory", lambda: 8 * GIB)
    return asked


def test_a_quick_config_is_measured_at_its_true_size(fake: list[list[int]]) -> None:
    cost = estimate_cost(config(), (60, 64, 62), images=6, training=4)
    assert fake == [[32, 32, 32], [60, 64, 62]] and cost.measured
    assert cost.iterations == {"warmup": 8, "grpo": 12}
    voxels = 60 * 64 * 62
    assert cost.seconds == {"warmup": voxels / 1e5, "grpo": voxels / 1e5}
    assert cost.hours == pytest.approx(20 * voxels / 1e5 / 3600)
    assert cost.cache == 6 * voxels * 5 and cost.memory == 8 * GIB


def test_a_slow_config_is_scaled_by_the_voxels(fake: list[list[int]]) -> None:
    cost = estimate_cost(config(), (160, 192, 224), images=6, training=4)
    assert fake == [[96, 96, 128]] and not cost.measured
    voxels = 160 * 192 * 224
    assert cost.seconds["grpo"] == pytest.approx(voxels / 1e5)
    assert cost.peak == pytest.approx(3 * GIB + 1000 * voxels)


def test_a_small_image_is_measured_once(fake: list[list[int]]) -> None:
    assert estimate_cost(config(), (16, 16, 16), 6, 4).measured and fake == [[16, 16, 16]]


def test_images_are_cached_by_every_worker_or_not_at_all(fake: list[list[int]]) -> None:
    assert estimate_cost(config(num_workers=3), (16, 16, 16), 6, 4).cache == 3 * 6 * 16**3 * 5
    overrides = {"train#dataset#cache": False}
    assert estimate_cost(config(**overrides), (16, 16, 16), 6, 4).cache == 0


def test_the_estimate_stands_where_the_true_size_fails(monkeypatch: pytest.MonkeyPatch, fake: list[list[int]]) -> None:
    small = cost_module._measure

    def run(config: Any, size: Sequence[int], *rest: Any) -> dict[str, Any]:
        if max(size) > 32:
            raise RuntimeError("killed")
        return small(config, size, *rest)

    monkeypatch.setattr(cost_module, "_measure", run)
    cost = estimate_cost(config(), (64, 64, 64), 6, 4)
    assert not cost.measured and cost.seconds["grpo"] == pytest.approx(64**3 / 1e5)


@pytest.mark.parametrize(
    ("peak", "cache", "device", "levels"),
    [
        (4, 2, "cpu", ["OK"]),
        (4, 3, "cpu", ["WARN"]),
        (4, 5, "cpu", ["ERROR"]),
        (9, 0, "cpu", ["ERROR"]),
        (4, 3, "cuda", ["OK", "OK"]),
        (7, 7, "cuda", ["WARN", "WARN"]),
        (4, 9, "cuda", ["OK", "ERROR"]),
    ],
)
def test_memory_is_judged(
    peak: float, cache: float, device: str, levels: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost_module, "machine_memory", lambda: 8 * GIB)
    cost = Cost((8, 8, 8), {"grpo": 1.0}, {"grpo": 1}, peak * GIB, cache * GIB, 8 * GIB, device, True, False)
    assert [finding.level for finding in judge_cost(cost)] == levels
    assert judge_cost(cost._replace(memory=0))[0].level == "OK"  # unknown memory


def test_this_machine_has_memory() -> None:
    assert 2**28 < machine_memory() < 2**50


def answer(monkeypatch: pytest.MonkeyPatch, code: int, stderr: str = "") -> None:
    done = subprocess.CompletedProcess([], code, "", stderr)
    monkeypatch.setattr(cost_module.subprocess, "run", lambda *args, **kwargs: done)


def test_failures_are_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, -9)
    with pytest.raises(RuntimeError, match=r"killed at 16 x 16 x 16 \(signal 9\), probably for its memory"):
        estimate_cost(config(), (16, 16, 16), 6, 4)
    answer(monkeypatch, 1, "Traceback ...\nValueError: no such layer\n")
    with pytest.raises(RuntimeError, match="one iteration at 16 x 16 x 16 failed: ValueError: no such layer"):
        estimate_cost(config(), (16, 16, 16), 6, 4)


def test_a_process_that_hangs_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost_module, "_START_SECONDS", 0.01)
    with pytest.raises(RuntimeError, match="took more than"):
        estimate_cost(config(), (16, 16, 16), 6, 4)


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that measures has torch and MONAI at once."""

    def run(command: list[str], timeout: float, **text: bool) -> programs.Done:
        assert command[0] == sys.executable and text == {"capture_output": True, "text": True}
        return programs.run(command[1:], timeout=timeout)

    monkeypatch.setattr(cost_module.subprocess, "run", run)


@pytest.mark.slow
def test_a_config_that_cannot_run_tells_why(forked: None) -> None:
    broken = config(**{"backbone#decoder": [4]})
    with pytest.raises(RuntimeError, match=r"one iteration .* failed: ValueError: VoxelMorphL\(\) 'decoder' must have"):
        estimate_cost(broken, (16, 16, 16), 6, 4)


def test_measure_runs_the_configs_own_trainers(tmp_path: Path) -> None:
    overrides = {
        **SMALL,
        "device": "$torch.device('cpu')",
        "output_dir": str(tmp_path / "eval"),
        "ckpt_dir": str(tmp_path / "models"),
    }
    request = {"files": [PHANTOM], "overrides": overrides, "size": [16, 16, 16], "phases": ["warmup", "grpo"]}
    result = measure(request)
    assert set(result["seconds"]) == {"warmup", "grpo"} and min(result["seconds"].values()) > 0
    assert result["device"] == "cpu" and list(tmp_path.iterdir()) == []  # no handler, no file
    if sys.platform == "linux":
        assert result["peak"] >= result["least"]["peak"] > 2**26
    assert result["least"]["voxels"] == 16**3


def test_random_pairs_are_a_batch() -> None:
    batch = random_pairs(2, [4, 5, 6], 3)
    assert batch["image"].shape == batch["label"].shape == (2, 2, 4, 5, 6)
    assert batch["label"].max() == 2 and not batch["label"].is_floating_point() and batch["labelled"].all()


@pytest.mark.slow
def test_two_processes_measure_and_answer(forked: None) -> None:
    cost = estimate_cost(config(device="$torch.device('cpu')"), (40, 16, 16), 6, 4)
    assert cost.measured and cost.device == "cpu" and cost.peak > 2**26 and set(cost.seconds) == {"warmup", "grpo"}
