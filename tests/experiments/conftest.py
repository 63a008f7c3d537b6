"""Plans on a bundle of two empty configs, with trainings that take no time; and CSV files of plans."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

WritePlan = Callable[..., Path]

# what the plans of these tests override
IDS = ("phase", "epochs", "lr", "backbone", "init_weights")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A folder that looks like a bundle from outside."""
    configs = tmp_path / "toy_bundle" / "configs"
    configs.mkdir(parents=True)
    (configs / "train.json").write_text(json.dumps(dict.fromkeys(IDS)))
    (configs / "evaluate.json").write_text("{}")
    return configs.parent


@pytest.fixture
def write_plan(bundle: Path, tmp_path: Path) -> WritePlan:
    """``write_plan({"a": {}, "b": {"from": "a"}}, seeds=[0], **more)``: the path of ``toy.json``."""

    def write(rows: Any, seeds: Any = (0,), **more: Any) -> Path:
        path = tmp_path / "toy.json"
        path.write_text(json.dumps({"bundle": str(bundle), "seeds": seeds, "rows": rows, **more}))
        return path

    return write


@pytest.fixture
def write_runs(tmp_path: Path) -> Callable[..., Path]:
    """``write_runs([{"row": "a", "dice": 0.5}, ...])``: a CSV file; what a line leaves out is the same in all."""

    def write(lines: list[dict[str, Any]]) -> Path:
        usual = {"order": 0, "label": "", "at": "{}", "seed": 0, "iterations": 10, "train_seconds": 5}
        metrics = {"dice": 0.5, "njd_percent": 0, "sdlogj": 0.1, "hd95_voxels": 2}
        path = tmp_path / "plan.csv"
        with open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, ["row", *usual, *metrics])
            writer.writeheader()
            for line in lines:
                writer.writerow({**usual, **metrics, "label": line["row"], **line})
        return path

    return write
