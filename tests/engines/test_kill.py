"""SIGKILL in the middle of a file or of an epoch, then resume: the end is that of an uninterrupted run, bit for bit."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

Launch = Callable[..., None]


def outcome(folder: Path) -> dict[str, Any]:
    """Weights, moments, schedules, loss buffers, best values, early stopping, progress."""
    kept = {path.name: torch.load(path) for path in (folder / "rank0").glob("[!.]*.pt")}
    return {"files": kept, "epochs": torch.load(folder / "report0.pt")["epochs"]}


def curves(folder: Path) -> list[dict[str, str]]:
    with open(folder / "rank0" / "curves.csv", newline="") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


@pytest.mark.slow
def test_resumed_equals_uninterrupted(launch: Launch, tmp_path: Path) -> None:
    whole, killed, settings = tmp_path / "whole", tmp_path / "killed", ("--nan", "warmup:2", "--patience", "2")
    launch(whole, *settings)

    launch(killed, *settings, "--kill", "save:checkpoint_warmup.pt:2", killed=True)
    (half,) = (killed / "rank0").glob(".*checkpoint_warmup.pt")
    before = killed / "rank0" / "checkpoint_warmup.pt"
    assert half.stat().st_size < 0.6 * before.stat().st_size
    assert torch.load(before)["trainer"]["epoch"] == 1

    launch(killed, *settings, "--resume", "--kill", "grpo:6", killed=True)  # four iterations an epoch
    assert torch.load(killed / "rank0" / "checkpoint_grpo.pt")["trainer"]["epoch"] == 1

    launch(killed, *settings, "--resume")
    assert set(outcome(whole)["files"]) == {"model.pt", "checkpoint_warmup.pt", "checkpoint_grpo.pt"}
    torch.testing.assert_close(outcome(killed), outcome(whole), rtol=0, atol=0)
    assert curves(killed) == curves(whole)
    assert [row["skipped"] for row in curves(whole)][:3] == ["0.75", "1.0", "1.0"]
