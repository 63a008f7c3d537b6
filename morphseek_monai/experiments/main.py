"""Entry point of ``python -m morphseek_monai.experiments``: a Fire group of commands."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fire

from morphseek_monai.base.errors import DataError
from morphseek_monai.base.option_text import quote_texts

from .driver import LOG, Driver
from .plan import PlanError, read_plan
from .plots import plot_coordinate, plot_curves
from .tables import grid, table

__all__ = ["COMMANDS", "main", "run"]


def run(
    plan: str,
    dataset_dir: str,
    out: str = "runs",
    rows: str | Sequence[str] | None = None,
    seeds: int | Sequence[int] | None = None,
    jobs: int = 1,
    redo: bool = False,
) -> str:
    """Carry out what is left of a plan: train, evaluate the last weights, add a line to OUT/PLAN.csv.

    May be interrupted and started again, and by several processes at once.

    Args:
        plan: JSON file, see docs/experiments.md.
        dataset_dir: data folder of the bundle.
        out: results folder.
        rows: names of rows, a,b; those they go on from are run too. Default: all.
        seeds: some of the plan's seeds, 0,1. Default: all.
        jobs: runs at once; with several, each has one thread.
        redo: run finished rows again whose overrides have changed since; else they are refused.

    Returns:
        where the table is.

    Raises:
        PlanError: a plan that cannot be carried out, or a wrong option.
        SystemExit: 1 where a run failed or was refused.
    """
    if type(jobs) is not int or jobs < 1 or not isinstance(redo, bool):
        raise PlanError(f"--jobs must be at least 1 and --redo True or False, got {jobs!r} and {redo!r}")
    content = read_plan(plan)
    driver = Driver(content, Path(str(dataset_dir)), Path(str(out)), redo, jobs)
    chosen = _chosen(rows, list(content.rows), "rows")
    failures = driver.run(chosen, [int(seed) for seed in _chosen(seeds, list(map(str, content.seeds)), "seeds")])
    if failures:
        LOG.error("%d of the runs have no result, see above", len(failures))
        raise SystemExit(1)
    return str(driver.records.runs)


def _chosen(value: Any, known: list[str], what: str) -> list[str]:
    """What an option names, however Fire has read it: ``a,b`` is a tuple, ``a-1,b`` a text, ``3`` a number."""
    if value is None:
        return known
    names = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    names = [str(name).strip() for name in names]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise PlanError(f"--{what} must be some of {','.join(known)}, got {','.join(unknown)}")
    return names


COMMANDS: dict[str, Any] = {
    "run": run,
    "table": table,
    "grid": grid,
    "plot": {"curves": plot_curves, "coordinate": plot_coordinate},
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run ``python -m morphseek_monai.experiments COMMAND ...``; a command's return value is printed.

    Args:
        argv: the arguments; None (default) takes those of the process.

    Raises:
        SystemExit: 1 where runs failed; 2 where a plan or an argument is wrong, then with one line on stderr.
    """
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    LOG.setLevel(logging.INFO)
    try:
        words = sys.argv[1:] if argv is None else list(argv)
        depth = 2 if words[:1] == ["plot"] else 1
        command: Any = COMMANDS
        for word in words[:depth]:
            command = command.get(word) if isinstance(command, dict) else None
        if callable(command):
            words[depth:] = quote_texts(words[depth:], command, " ".join(words[:depth]))
        fire.Fire(COMMANDS, command=words, name="experiments")
    except (PlanError, DataError) as error:
        sys.stderr.write(f"experiments: {error}\n")
        raise SystemExit(2) from None
