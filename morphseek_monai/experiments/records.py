"""Tables of finished runs: a line per run and a line per pair, written by several processes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from morphseek_monai.base.records import read_csv, write_csv

from .plan import Plan, PlanError

__all__ = ["Records", "locked"]

Record = dict[str, Any]


@contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[bool]:
    """Hold a lock file; the system releases it when the process ends, however it ends.

    Args:
        path: the lock file; stays there.
        wait: False does not wait for another process to release it; the value is then False.

    Raises:
        PlanError: the system has no such locks.
    """
    try:
        import fcntl
    except ImportError as error:  # Windows
        must = "experiments lock their tables, which this system cannot; run them on Linux or macOS"
        raise PlanError(must) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    held = True
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            held = False
        yield held
    finally:
        if held:  # closing is not enough: processes forked meanwhile hold copies of the descriptor
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


class Records:
    """The two tables of a plan, ``PLAN.csv`` and ``PLAN_pairs.csv`` in the results folder.

    Every change holds a lock file and replaces the table as a whole, so that no process sees or leaves half of one and
    none loses what another has added meanwhile.

    Args:
        out: the results folder.
        plan: the plan.
    """

    def __init__(self, out: Path, plan: Plan) -> None:
        self.plan = plan
        self.runs = out / f"{plan.name}.csv"
        self.pairs = out / f"{plan.name}_pairs.csv"
        self._lock = out / f".{plan.name}.lock"

    def finished(self, row: str, seed: int) -> dict[str, str] | None:
        """The line of a run, None where it has none."""
        return next((line for line in read_csv(self.runs) if _key(line) == (row, str(seed))), None)

    def add(self, row: str, seed: int, run: Record, pairs: Iterable[Record]) -> None:
        """Add the lines of a run; they replace earlier ones of the same row and seed.

        Args:
            row: name of the row.
            seed: the seed.
            run: columns of the line in the first table.
            pairs: columns of the lines in the second one.
        """
        key = {"plan": self.plan.name, "row": row, "seed": str(seed)}
        described = key | self._description(row)
        with locked(self._lock):
            for path, new in ((self.pairs, [key | pair for pair in pairs]), (self.runs, [described | run])):
                kept = [old for old in read_csv(path) if _key(old) != _key(key)]
                write_csv(path, [*kept, *new], lineterminator="\n")

    def describe(self) -> None:
        """Bring what decides no result up to date with the plan: order, label, coordinates."""
        with locked(self._lock):
            lines = read_csv(self.runs)
            fresh = [line | self._description(line["row"]) if line["row"] in self.plan.rows else line for line in lines]
            if fresh != lines:
                write_csv(self.runs, fresh, lineterminator="\n")

    def _description(self, row: str) -> dict[str, str]:
        entry = self.plan.rows[row]
        return {
            "order": str(list(self.plan.rows).index(row)),
            "label": entry.label,
            "at": json.dumps(dict(entry.at)),
            "from": entry.parent or "",
        }


def _key(line: Record) -> tuple[str, str]:
    return line["row"], line["seed"]

