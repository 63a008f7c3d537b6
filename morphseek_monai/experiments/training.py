"""One run of a plan in a process of its own: the bundle's training, then the evaluation of its last weights."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import torch
from monai.bundle.scripts import run as run_bundle

from morphseek_monai.base.records import write_json
from morphseek_monai.engines import cause_of

from .results import Folder, measure, measure_pairs

__all__ = ["train_and_evaluate"]


def train_and_evaluate(bundle: Path, folder: Folder, threads: int | None) -> None:
    """Do what ``python -m monai.bundle run`` does, twice, and write ``result.json``; ends the process.

    An interrupted training goes on where its checkpoints left it. The process works in the bundle's folder, as a person
    would, and prints into the run's log, whose last line names the cause of an error.

    Args:
        bundle: the bundle.
        folder: the run; its overlay is there.
        threads: of torch; None leaves them.

    Raises:
        SystemExit: with code 1 after an error, else 0.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a fork has the driver's
    with open(folder.log, "ab", buffering=0) as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    if threads is not None:
        torch.set_num_threads(threads)
    os.chdir(bundle)
    code = 0
    try:
        _run("training", "configs/train.json", str(folder.overlay), resume=True)
        weights, test = str(folder.last_weights), str(folder.test)
        # the overlay may replace handlers and metrics of the validation; those of the evaluation come last
        files = ("configs/train.json", str(folder.overlay), "configs/evaluate.json")
        _run("evaluating", *files, ckpt_path=weights, output_dir=test)
        write_json(folder.result, {"run": measure(folder), "pairs": measure_pairs(folder)})
    except Exception as error:
        traceback.print_exc()
        cause = cause_of(error)
        sys.stderr.write(f"\n{type(cause).__name__}: {cause}\n")
        code = 1
    sys.stdout.flush()
    sys.exit(code)


def _run(run_id: str, *files: str, **overrides: Any) -> None:
    # provenance files take the command and its config files from here
    options = [word for key, value in overrides.items() for word in (f"--{key}", str(value))]
    sys.argv = ["monai.bundle", "run", run_id, "--config_file", str(list(files)), *options]
    run_bundle(run_id=run_id, config_file=list(files), **overrides)
