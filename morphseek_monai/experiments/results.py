"""The folder of one run, and what a finished one left in it."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from morphseek_monai.base.records import read_csv

__all__ = ["Folder", "measure", "measure_pairs"]

Record = dict[str, Any]

# column of the table -> name of the evaluation's metric
METRICS = {
    "dice": "val_mean_dice",
    "njd_percent": "val_njd_percent",
    "sdlogj": "val_sdlogj",
    "hd95_voxels": "val_hd95",
    "seconds_per_pair": "val_seconds",
}
PAIR_METRICS = ("dice", "njd_percent", "hd95_voxels")
NO_TERMS = ("phase", "epoch", "iteration", "seconds")


@dataclass(frozen=True)
class Folder:
    """What lies where in the folder of one run.

    Args:
        path: the folder.
    """

    path: Path

    @property
    def overlay(self) -> Path:
        """Config that makes the bundle's training this run."""
        return self.path / "overlay.json"

    @property
    def log(self) -> Path:
        """All that the run printed."""
        return self.path / "log.txt"

    @property
    def models(self) -> Path:
        """The bundle's ``ckpt_dir``."""
        return self.path / "models"

    @property
    def eval(self) -> Path:
        """The bundle's ``output_dir`` in training."""
        return self.path / "eval"

    @property
    def curves(self) -> Path:
        """Learning curves, a line per epoch."""
        return self.eval / "curves.csv"

    @property
    def test(self) -> Path:
        """The bundle's ``output_dir`` in the evaluation of the last weights."""
        return self.path / "test"

    @property
    def result(self) -> Path:
        """What :func:`measure` and :func:`measure_pairs` found, as JSON; there once the run is finished."""
        return self.path / "result.json"

    @property
    def lock(self) -> Path:
        """Held by who works in the folder; beside it, for the folder may be removed."""
        return self.path.with_name(f".{self.path.name}.lock")

    @property
    def last_weights(self) -> Path:
        """Checkpoint of the last epoch of the last phase that was run."""
        grpo = self.models / "checkpoint_grpo.pt"
        return grpo if grpo.is_file() else self.models / "checkpoint_warmup.pt"


def measure(folder: Folder) -> Record:
    """Metrics of the last weights, iterations, time, the last epoch's mean of all terms, device and versions."""
    with open(folder.test / "metrics" / "metrics.csv", newline="", encoding="utf-8") as file:
        metrics = dict(csv.reader(file))
    made = json.loads((folder.test / "provenance_evaluate.json").read_text(encoding="utf-8"))
    epochs = read_csv(folder.curves)
    iterations = {epoch["phase"]: int(epoch["iteration"]) for epoch in epochs}
    terms = {name: value for name, value in epochs[-1].items() if name not in NO_TERMS and name[:4] != "val_"}
    return {
        "iterations": sum(iterations.values()),
        **{column: metrics[name] for column, name in METRICS.items()},
        "train_seconds": round(sum(float(epoch["seconds"]) for epoch in epochs), 2),
        **{f"term_{name}": value for name, value in terms.items()},
        "device": made["cuda"] or "cpu",
        "threads": made["threads"],
        **{package: made["packages"][package] for package in ("torch", "monai", "morphseek_monai")},
    }


def measure_pairs(folder: Folder) -> list[Record]:
    """Metrics of every pair of the evaluation."""
    pairs: dict[str, Record] = {}
    for column in PAIR_METRICS:
        for line in read_csv(folder.test / "metrics" / f"{METRICS[column]}_raw.csv"):
            fixed, _, moving = line["filename"].partition(" <- ")
            pairs.setdefault(line["filename"], {"fixed": fixed, "moving": moving})[column] = line["mean"]
    return list(pairs.values())
