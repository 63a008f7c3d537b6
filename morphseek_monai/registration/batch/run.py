"""Register many pairs: each into its own folder, done ones skipped, broken ones reported."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from morphseek_monai.base.errors import DataError, find_data_error, told
from morphseek_monai.base.machine import available_memory
from morphseek_monai.base.records import write_json
from morphseek_monai.data.scans.scan import Scan, read_scan
from morphseek_monai.evaluation.pair import score_labels

from ...spatial.format_names import split_format
from ..interchange import requested, write_formats
from ..models.bundles import choose_bundle
from ..models.model import RegistrationModel, choose_device, load_model
from ..options import FILE_OPTIONS
from ..register import register
from .summary import ERROR, PAIR, RESULT, summarise
from .table import PairRow

__all__ = ["Share", "run_batch"]

LOG = logging.getLogger("morphseek")


class Share(NamedTuple):
    """Which part of a batch this process does.

    Attributes:
        rank: number of this process, from 0; it does the pairs ``rank``, ``rank + world``, ...
        world: number of processes.
        local_rank: number among those of this machine, which chooses the GPU.
        local_world: processes on this machine, which share its memory.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int = 1


def run_batch(rows: Sequence[PairRow], folder: Path, share: Share | None = None, overwrite: bool = False) -> None:
    """Register the pairs of one share and write ``summary.csv`` over all pairs that are done, by whomever.

    A pair that cannot be registered, for whatever reason, gets an ``error.json`` in place of results, and the next one
    is taken. Processes do not talk to each other; the last one leaves the summary complete.

    Args:
        rows: all pairs.
        folder: each pair's results go to the folder of its name in it.
        share: of this process; None does all.
        overwrite: register again what was registered before, with the same files, options and weights.
    """
    share = share or Share()
    own = rows[share.rank :: share.world]
    worker = _Worker(folder, share)
    done = [] if overwrite else [row.name for row in own if worker.is_done(row)]
    todo = [row for row in own if row.name not in done]
    if done:
        LOG.info("%d of %d pairs are done already", len(done), len(own))
    began = time.perf_counter()
    try:
        for number, row in enumerate(todo, start=1):
            words = worker.run(row)
            left = (time.perf_counter() - began) / number * (len(todo) - number)
            LOG.info("%d of %d, %s: %s; %.0f min left", number, len(todo), row.name, words, left / 60)
    finally:
        summarise(rows, folder)


class _Worker:
    """Registers pairs one after the other with the models it has loaded."""

    def __init__(self, folder: Path, share: Share) -> None:
        self.folder = Path(os.path.abspath(folder))  # libraries change the working folder
        self.models: dict[tuple[str, str], RegistrationModel] = {}
        self.weights: dict[str, str] = {}
        self.local_rank = share.local_rank
        # what is free is free once for all processes of a machine
        self.limit = available_memory() // share.local_world if share.local_world > 1 else 0

    def run(self, row: PairRow) -> str:
        """Register one pair, whatever happens, and tell how it went in a few words."""
        folder = self.folder / row.name
        began = time.perf_counter()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name in (PAIR, ERROR, RESULT):
                (folder / name).unlink(missing_ok=True)
            return self.register(row, folder, began)
        except Exception as error:
            known = find_data_error(error)
            text = told(error)
            trace = [] if known else traceback.format_exc().splitlines()
            seconds = round(time.perf_counter() - began, 1)
            with suppress(DataError):  # the pair then counts as not done
                write_json(folder / ERROR, {"error": text, "seconds": seconds, "traceback": trace})
            return f"error, {text}"

    def register(self, row: PairRow, folder: Path, began: float) -> str:
        key = _key(row)  # before the images are read: a file that changes meanwhile is another one
        labels = [read_scan(path, "label") for path in (row.fixed_label, row.moving_label) if path]
        formats = requested(row.options.transforms)  # before anything is computed
        model = self.model(row)
        limit = row.options.max_memory or self.limit or None
        result = register(row.fixed, row.moving, row.options, bundle=model, device=str(model.device), max_memory=limit)
        result.save(folder, row.options.report)
        missing = write_formats(folder / "transforms", result, formats)
        used = {"folder": self.root(model), "sha256": model.sha256}
        record: dict[str, Any] = {"key": key, "notices": missing, "bundle": used}
        if labels:
            record["dice"] = _dice(labels[0], labels[1], result.forward)
        seconds = record["seconds"] = round(time.perf_counter() - began, 1)
        write_json(folder / PAIR, record)
        before, after = (result.metrics[stage]["similarity"] for stage in ("before", "after"))
        return f"{result.verdict}, similarity {before:.3f} to {after:.3f}, {seconds:.0f} s"

    def model(self, row: PairRow) -> RegistrationModel:
        """The model of a pair, loaded once."""
        options, scans = row.options, []
        if options.bundle is None and "auto" in options.modalities:
            roles = ("fixed image", "moving image")
            first = [paths[0] for paths in row.contrasts]
            scans = [read_scan(p, role, f) for p, role, f in zip(first, roles, options.frames)]
        root = str(choose_bundle(options.bundle, scans, options.modalities).resolve())
        device = options.device
        if device == "auto" and torch.cuda.is_available():
            device = f"cuda:{self.local_rank % torch.cuda.device_count()}"
        if (root, device) not in self.models:
            self.models[root, device] = load_model(root, choose_device(device))
        return self.models[root, device]

    def root(self, model: RegistrationModel) -> str:
        return next(root for (root, _), loaded in self.models.items() if loaded is model)

    def is_done(self, row: PairRow) -> bool:
        """Whether the folder of a pair holds what this run would write."""
        folder = self.folder / row.name
        try:
            record = json.loads((folder / PAIR).read_text(encoding="utf-8"))
            same = record["key"] == _key(row) and (folder / RESULT).is_file()
            return same and record["bundle"]["sha256"] == self.sha256(record["bundle"]["folder"])
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def sha256(self, root: str) -> str:
        """Of a bundle's weights as they are now."""
        if root not in self.weights:
            self.weights[root] = hashlib.sha256(Path(root, "models/model.pt").read_bytes()).hexdigest()
        return self.weights[root]


def _key(row: PairRow) -> dict[str, Any]:
    """What the results of a pair follow from, but for the weights, in plain types."""
    files: list[str | None] = [row.fixed_label, row.moving_label]
    for paths in row.contrasts:
        files += paths
    given = [getattr(row.options, name) for name in ("affine", *FILE_OPTIONS)]
    files += [path for one in given if one is not None and os.path.isfile(path := split_format(one)[1])]
    return {"files": [None if path is None else [path, *_state(Path(path))] for path in files], **asdict(row.options)}


def _state(path: Path) -> list[int]:
    """Size and time of change of a file; of a folder of DICOM slices, those of all its files together."""
    if path.is_dir():
        states = [_state(child) for child in sorted(path.iterdir()) if child.is_file()]
        return [len(states), sum(size for size, _ in states), max((when for _, when in states), default=0)]
    if not path.exists():
        return []
    return [path.stat().st_size, path.stat().st_mtime_ns]


def _dice(fixed: Scan, moving: Scan, transform: Any) -> dict[str, Any]:
    scores = score_labels(fixed, moving, transform)
    known = [score for score in scores if not np.isnan(score.dice_after)]
    if not known:
        raise DataError(f"{fixed.name} and {moving.name} have no label in common; give segmentations by one protocol")
    return {
        "before": float(np.mean([score.dice_before for score in known])),
        "after": float(np.mean([score.dice_after for score in known])),
        "labels": {str(score.label): [score.dice_before, score.dice_after] for score in known},
    }
