"""The published plan of the phantom, carried out by the program: real trainings, a kill, a run redone by hand."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path

import pytest
import torch

from morphseek_monai.data import write_phantom

from ..programs import Program, run

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PLAN = "docs/benchmarks/plans/phantom.json"
CLOCK = {"train_seconds", "seconds_per_pair"}
LIMIT = 3600  # seconds: ends a run that hangs, whatever the processor and its load


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_phantom(folder, subjects=6, shape=(32, 32, 32), validation=2)
    return folder


def start(data: Path, out: Path, *options: str, plan: str | Path = PLAN) -> Program:
    words = ["-m", "morphseek_monai.experiments", "run", plan, "--dataset_dir", data, "--out", out, *options]
    return Program(words, cwd=ROOT)


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plan without interruption, both seeds."""
    out = tmp_path_factory.mktemp("whole")
    done = start(data, out).wait(LIMIT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(out / "phantom.csv")
    return out


def table(path: Path) -> dict[tuple[str, str], dict[str, str]]:
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return {(row["row"], row["seed"]): {k: v for k, v in row.items() if k not in CLOCK} for row in rows}


def model(folder: Path, phase: str) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = torch.load(folder / "models" / f"checkpoint_{phase}.pt")["model"]
    return weights


def curves(folder: Path) -> list[dict[str, str]]:
    with open(folder / "eval" / "curves.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_lines(whole: Path) -> None:
    lines = table(whole / "phantom.csv")
    assert sorted(lines) == [(row, seed) for row in ("grpo", "soft_dice", "warmup") for seed in "01"]
    line = lines["grpo", "0"]
    assert (line["iterations"], line["label"], line["from"]) == ("32", "+ GRPO", "warmup")
    assert json.loads(line["at"]) == {"J": 2, "T": 1}
    assert line["torch"] == torch.__version__ and line["device"] == "cpu"
    last = curves(whole / "phantom" / "grpo" / "seed0")[-1]
    for term in ("reward", "reward_spread", "sigma", "policy", "loss"):
        assert line[f"term_{term}"] == last[term] != ""
    assert lines["warmup", "0"]["term_reward"] == ""
    # not the Dice: no voxel of two small networks may have changed its label, which is one number for both
    assert lines["warmup", "0"]["term_loss"] != lines["warmup", "1"]["term_loss"]


def test_seeds_are_trainings_of_their_own(whole: Path) -> None:
    """Each line has the numbers of its own seed's run, and no two seeds come to the same weights."""
    for (row, seed), line in table(whole / "phantom.csv").items():
        assert line["term_loss"] == curves(whole / "phantom" / row / f"seed{seed}")[-1]["loss"] != ""
    for row, phase in (("warmup", "warmup"), ("grpo", "grpo")):
        first, second = (model(whole / "phantom" / row / f"seed{seed}", phase) for seed in "01")
        assert first.keys() == second.keys()
        assert not any(torch.equal(first[name], second[name]) for name in first if name.endswith("weight"))


def test_last_weights_are_evaluated(whole: Path) -> None:
    """The last validation is of the last weights; the best one of some runs is another."""
    lost = []
    for (row, seed), line in table(whole / "phantom.csv").items():
        dice = [float(epoch["val_mean_dice"]) for epoch in curves(whole / "phantom" / row / f"seed{seed}")]
        assert float(line["dice"]) == pytest.approx(dice[-1], abs=1e-6)
        lost.append(max(dice) - dice[-1])
    assert max(lost) > 1e-3


def test_pairs(whole: Path) -> None:
    with open(whole / "phantom_pairs.csv", newline="") as file:
        pairs = [row for row in csv.DictReader(file) if (row["row"], row["seed"]) == ("grpo", "1")]
    ids = ["PhantomBrain_0003_0000", "PhantomBrain_0004_0000"]  # held out of training by the plan
    assert [(pair["fixed"], pair["moving"]) for pair in pairs] == [tuple(ids), tuple(ids[::-1])]
    mean = sum(float(pair["dice"]) for pair in pairs) / 2
    assert mean == pytest.approx(float(table(whole / "phantom.csv")["grpo", "1"]["dice"]), abs=1e-4)


def test_weights_are_handed_over(whole: Path, data: Path, tmp_path: Path) -> None:
    """A child that learns nothing has its parent's weights, and those of its own seed."""
    plan = json.loads((ROOT / PLAN).read_text())
    plan["rows"]["still"] = {"from": "warmup", "overrides": {"phase": "grpo", "epochs": 1, "lr": 0.0}}
    path = tmp_path / "phantom.json"
    path.write_text(json.dumps(plan))
    done = start(data, whole, "--rows", "still", "--jobs", "2", plan=path).wait(LIMIT)
    assert done.returncode == 0, done.stderr
    runs = whole / "phantom"
    for seed in ("seed0", "seed1"):
        parent, child = model(runs / "warmup" / seed, "warmup"), model(runs / "still" / seed, "grpo")
        torch.testing.assert_close(child, parent, rtol=0, atol=0)
    lines = table(whole / "phantom.csv")
    assert [lines["still", seed]["dice"] for seed in "01"] == [lines["warmup", seed]["dice"] for seed in "01"]


def test_killed_and_resumed_equals_uninterrupted(whole: Path, data: Path, tmp_path: Path) -> None:
    driver = start(data, tmp_path, "--seeds", "1", "--rows", "grpo")
    run = tmp_path / "phantom" / "grpo" / "seed1"
    deadline = time.monotonic() + LIMIT
    while not (run / "models" / "checkpoint_grpo.pt").is_file() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert driver.terminate().returncode == 143
    assert list(table(tmp_path / "phantom.csv")) == [("warmup", "1")] and 1 <= len(curves(run)) < 4
    left = curves(run)
    time.sleep(1)
    assert curves(run) == left, "the driver has ended the run too"

    resumed = start(data, tmp_path, "--seeds", "1", "--rows", "grpo").wait(LIMIT)
    assert resumed.returncode == 0, resumed.stderr
    assert "warmup seed 1: finished earlier" in resumed.stderr
    log = (run / "log.txt").read_text()
    assert [log.count(f"GRPOTrainer - INFO - Epoch[{epoch}] Complete") for epoch in (1, 4)] == [1, 1]
    lines, expected = table(tmp_path / "phantom.csv"), table(whole / "phantom.csv")
    assert lines == {key: expected[key] for key in (("warmup", "1"), ("grpo", "1"))}
    reference = model(whole / "phantom" / "grpo" / "seed1", "grpo")
    torch.testing.assert_close(model(run, "grpo"), reference, rtol=0, atol=0)


def test_redone_by_hand(whole: Path, tmp_path: Path) -> None:
    overlay = whole / "phantom" / "grpo" / "seed0" / "overlay.json"
    words = ["-m", "monai.bundle", "run", "training", "--config_file", f"['configs/train.json','{overlay}']"]
    words += ["--ckpt_dir", str(tmp_path / "models"), "--output_dir", str(tmp_path / "eval")]
    done = run(words, cwd=ROOT / "bundles" / "morphseek_phantom", timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    torch.testing.assert_close(model(tmp_path, "grpo"), model(overlay.parent, "grpo"), rtol=0, atol=0)
