"""Carry out a plan: what is left of it, parents first, several runs at once."""

from __future__ import annotations

import json
import logging
import multiprocessing
import shutil
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from morphseek_monai.base.records import write_json

from .plan import Plan, digest
from .records import Records, locked
from .results import Folder
from .training import train_and_evaluate

__all__ = ["LOG", "Driver"]

LOG = logging.getLogger("morphseek_monai.experiments")
POLL_SECONDS = 2.0
TAIL_LINES = 15


@dataclass
class _Run:
    """One row with one seed; ``lock`` holds its folder while ``process`` trains it."""

    row: str
    seed: int
    folder: Folder
    state: str = "waiting"  # then "running", "done" or "failed"
    config: str = ""
    process: BaseProcess | None = None
    lock: ExitStack = field(default_factory=ExitStack)

    def __str__(self) -> str:
        return f"{self.row} seed {self.seed}"


class Driver:
    """Runs what is left of a plan.

    Args:
        plan: the plan.
        dataset_dir: data folder.
        out: results folder; a run lies in ``PLAN/ROW/seedN`` there.
        redo: run a finished row again whose overrides have changed since; False (default) refuses it.
        jobs: runs at once; each gets one thread if there are several.
    """

    def __init__(self, plan: Plan, dataset_dir: Path, out: Path, redo: bool = False, jobs: int = 1) -> None:
        self.plan = plan
        self.dataset_dir = dataset_dir.resolve()
        self.out = out.resolve()
        self.redo = redo
        self.jobs = jobs
        self.records = Records(self.out, plan)
        self._runs: dict[tuple[str, int], _Run] = {}
        self._failures: list[str] = []
        # a fork has the imports of this process, which take longer than some runs; CUDA does not survive one
        forks = sys.platform == "linux" and not torch.cuda.is_available()
        self._processes: Any = multiprocessing.get_context("fork" if forks else "spawn")

    def run(self, rows: Sequence[str], seeds: Sequence[int]) -> list[str]:
        """Carry out rows and what they go on from.

        A run that fails stops those that go on from it and no others. Runs that another driver has in hand are waited
        for.

        Args:
            rows: names of rows.
            seeds: seeds.

        Returns:
            what went wrong, one text each.
        """
        self.records.describe()
        ordered = list(dict.fromkeys(name for row in rows for name in self.plan.lineage(row)))
        self._runs = {(row, seed): _Run(row, seed, self.folder(row, seed)) for seed in seeds for row in ordered}
        self._failures = []
        try:
            while self._in("waiting", "running"):
                for run in self._in("waiting"):
                    self._advance(run)
                self._wait()
        finally:
            for run in self._in("running"):
                if run.process is not None:
                    run.process.terminate()
                    run.process.join()
        return self._failures

    def folder(self, row: str, seed: int) -> Folder:
        """Where a run lies."""
        return Folder(self.out / self.plan.name / row / f"seed{seed}")

    def overlay(self, row: str, seed: int) -> dict[str, Any]:
        """The config that turns the bundle's training into one run; ``experiment`` says which."""
        folder, parent = self.folder(row, seed), self.plan.rows[row].parent
        return {
            **self.plan.effective(row),
            **({"init_weights": str(self.folder(parent, seed).last_weights)} if parent else {}),
            "seed": seed,
            "dataset_dir": str(self.dataset_dir),
            "ckpt_dir": str(folder.models),
            "output_dir": str(folder.eval),
            "experiment": {"plan": self.plan.name, "row": row, "hash": self.plan.digest(row)},
        }

    def _in(self, *states: str) -> list[_Run]:
        return [run for run in self._runs.values() if run.state in states]

    def _advance(self, run: _Run) -> None:
        """Begin a waiting run, or find out that there is nothing to do, if what it waits for is there."""
        parent = self.plan.rows[run.row].parent
        above = self._runs[parent, run.seed].state if parent else "done"
        if above == "failed":
            self._end(run, "failed", f"not run, for there is no {parent} to go on from")
        if above != "done" or len(self._in("running")) >= self.jobs:
            return
        if not run.lock.enter_context(locked(run.folder.lock, wait=False)):
            run.lock.close()
            return
        old, new = self.records.finished(run.row, run.seed), self.plan.digest(run.row)
        if old and old["hash"] == new:
            changed = "" if old["config"] == self._bundle_digest() else "; the bundle's configs have changed since"
            self._end(run, "done", f"finished earlier{changed}")
        elif old and not self.redo:
            what = f"not run, for it is finished with other overrides (hash {old['hash']}, now {new})"
            self._end(run, "failed", f"{what}; name the row anew, or replace the result with --redo True")
        else:
            self._start(run, new)

    def _start(self, run: _Run, own: str) -> None:
        folder = run.folder
        if _digest_of(folder) != own:  # what another experiment left must not be resumed
            shutil.rmtree(folder.path, ignore_errors=True)
        write_json(folder.overlay, self.overlay(run.row, run.seed))
        run.config = self._bundle_digest()
        threads = 1 if self.jobs > 1 else None
        run.process = self._processes.Process(target=train_and_evaluate, args=(self.plan.bundle, folder, threads))
        run.process.start()
        run.state = "running"
        LOG.info("%s: started, see %s", run, folder.log)

    def _wait(self) -> None:
        """Wait until a process ends, or a while for what another driver has in hand."""
        running = {run.process.sentinel: run for run in self._in("running") if run.process is not None}
        if running or self._in("waiting"):
            for sentinel in wait(list(running), timeout=POLL_SECONDS):
                self._collect(running[sentinel])  # type: ignore[index]

    def _collect(self, run: _Run) -> None:
        """Record what an ended process has left."""
        code = None
        if run.process is not None:
            run.process.join()
            code = run.process.exitcode
        if code == 0:
            result = json.loads(run.folder.result.read_text(encoding="utf-8"))
            line = result["run"] | {"hash": self.plan.digest(run.row), "config": run.config}
            self.records.add(run.row, run.seed, line, result["pairs"])
            quality = f"Dice {100 * float(line['dice']):.2f} %, NJD {float(line['njd_percent']):.3f} %"
            self._end(run, "done", f"{line['iterations']} iterations in {line['train_seconds']} s, {quality}")
        else:
            log = run.folder.log.read_text(encoding="utf-8", errors="replace") if run.folder.log.is_file() else ""
            tail = "".join(f"\n    {line}" for line in log.splitlines()[-TAIL_LINES:])
            self._end(run, "failed", f"ended with code {code}; the last lines of {run.folder.log}:{tail}")

    def _end(self, run: _Run, state: str, text: str) -> None:
        run.state = state
        run.lock.close()
        if state == "failed":
            self._failures.append(f"{run}: {text}")
        LOG.log(logging.ERROR if state == "failed" else logging.INFO, "%s: %s", run, text)

    def _bundle_digest(self) -> str:
        configs = [self.plan.bundle / "configs" / name for name in ("train.json", "evaluate.json")]
        return digest([json.loads(config.read_text(encoding="utf-8")) for config in configs])


def _digest_of(folder: Folder) -> str | None:
    """Digest of the row that a folder was made for."""
    if not folder.overlay.is_file():
        return None
    found: str = json.loads(folder.overlay.read_text(encoding="utf-8"))["experiment"]["hash"]
    return found
