"""``--patience``: either phase ends when validation stands still, also after a resume."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigWorkflow

MakeWorkflow = Callable[..., ConfigWorkflow]
BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "morphseek_phantom"


def epochs(root: Path) -> list[str]:
    with open(root / "eval" / "curves.csv", newline="") as file:
        return [row["phase"] + row["epoch"] for row in csv.DictReader(file)]


@pytest.mark.parametrize(("patience", "last"), [(1, 2), (None, 4)])
def test_phases_stop(patience: int | None, last: int, make_workflow: MakeWorkflow, tmp_path: Path) -> None:
    """At a learning rate of 0 no validation is better than the first."""
    settings: dict[str, Any] = {"spatial_size": [16, 16, 16], "warmup_epochs": 4, "epochs": 4, "lr": 0.0}
    settings |= {"warmup_lr": 0.0, "patience": patience}
    make_workflow(BUNDLE, tmp_path, "train", **settings).run()
    expected = [f"{phase}{epoch}" for phase in ("warmup", "grpo") for epoch in range(1, last + 1)]
    assert epochs(tmp_path) == expected
    make_workflow(BUNDLE, tmp_path, "train", resume=True, **settings).run()
    assert epochs(tmp_path) == expected
