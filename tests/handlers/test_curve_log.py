"""Learning curves as a table."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import pytest
from ignite.engine import Engine, Events

from morphseek_monai.handlers import CurveLog

Terms = dict[str, float]


def run(path: Path, phase: str, epochs: list[list[Terms]], done: int = 0, validate_every: int = 0) -> None:
    """Train on given terms from epoch ``done + 1`` on; validation finds 0.1 times the epoch as Dice."""
    trainer = Engine(lambda engine, i: [{"terms": epochs[engine.state.epoch - 1][i]}])

    def validate(evaluator: Engine, batch: Any) -> None:
        evaluator.state.metrics |= {"dice": 0.1 * trainer.state.epoch, "per_label": [0.1, 0.2]}

    evaluator = Engine(validate)
    if validate_every:
        trainer.add_event_handler(Events.EPOCH_COMPLETED(every=validate_every), lambda: evaluator.run([0]))
    CurveLog(str(path), phase, evaluator if validate_every else None).attach(trainer)
    trainer.load_state_dict({"epoch": done, "max_epochs": len(epochs), "epoch_length": len(epochs[0])})
    trainer.run(range(len(epochs[0])))


def read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def losses(*values: float) -> list[list[Terms]]:
    return [[{"loss": value}] for value in values]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "eval" / "curves.csv"


def test_row_holds_the_means_of_an_epoch(path: Path) -> None:
    first, second = [{"loss": 1.0, "kl": 4.0}, {"loss": 3.0}], [{"loss": 5.0, "kl": 1.0}, {"loss": 5.0, "kl": 3.0}]
    run(path, "warmup", [first, second])
    rows = read(path)
    assert [row["phase"] for row in rows] == ["warmup"] * 2
    assert [(row["epoch"], row["iteration"]) for row in rows] == [("1", "2"), ("2", "4")]
    assert [(float(row["loss"]), float(row["kl"])) for row in rows] == [(2.0, 4.0), (5.0, 2.0)]
    assert all(float(row["seconds"]) >= 0 for row in rows)


def test_skipped_iterations_do_not_spoil_the_mean(path: Path) -> None:
    run(path, "grpo", [[{"loss": 1.0}, {"loss": math.nan}, {"loss": 3.0}], [{"loss": math.inf}] * 3])
    assert [float(row["loss"]) for row in read(path)][0] == 2.0
    assert math.isnan(float(read(path)[1]["loss"]))


def test_metrics_stand_in_the_epochs_that_were_validated(path: Path) -> None:
    run(path, "warmup", losses(1, 2, 3, 4), validate_every=2)
    assert [row["dice"] and float(row["dice"]) for row in read(path)] == ["", 0.2, "", 0.4]
    assert "per_label" not in read(path)[0]


def test_phases_share_a_file_with_their_own_columns(path: Path) -> None:
    run(path, "warmup", losses(1, 2))
    run(path, "grpo", [[{"loss": 3.0, "reward": 0.5}]])
    rows = read(path)
    assert [(row["phase"], row["loss"], row["reward"]) for row in rows] == [
        ("warmup", "1.0", ""),
        ("warmup", "2.0", ""),
        ("grpo", "3.0", "0.5"),
    ]


def test_resumed_phase_replaces_what_it_does_again(path: Path) -> None:
    run(path, "warmup", losses(1, 2, 3))
    run(path, "grpo", losses(7))
    run(path, "warmup", losses(1, 2, 30, 40), done=2)
    rows = {(row["phase"], row["epoch"]): row["loss"] for row in read(path)}
    assert rows == {
        ("warmup", "1"): "1.0",
        ("warmup", "2"): "2.0",
        ("warmup", "3"): "30.0",
        ("warmup", "4"): "40.0",
        ("grpo", "1"): "7.0",
    }
    assert [file.name for file in path.parent.iterdir()] == ["curves.csv"]


def test_repeated_phase_starts_its_rows_anew(path: Path) -> None:
    run(path, "warmup", losses(1, 2, 3))
    run(path, "warmup", losses(10))
    assert [row["loss"] for row in read(path)] == ["10.0"]
