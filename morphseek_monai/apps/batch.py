"""``morphseek batch``: a table of pairs, on one processor or a cluster."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..base.errors import DataError, require_whole
from ..base.files import require_file
from ..base.option_text import PathText
from ..base.progress import progress
from ..base.terminable import terminable
from ..evaluation.verdict import DOUBTFUL, EXIT_CODES, FAILED, SUCCEEDED
from .register import VerdictExit, require_writable

if TYPE_CHECKING:
    from ..registration.batch.run import Share
    from ..registration.batch.table import PairRow

__all__ = ["batch"]


def batch(pairs: PathText, out: PathText, overwrite: bool = False, jobs: int = 1, **options: Any) -> str:
    """Register all pairs of a table, each into its own folder OUT/NAME, and write OUT/summary.csv.

    Takes every option of morphseek register. Run again, it skips what is done, and tries again what failed with an
    error. Under torchrun the processes share the pairs, on one machine or many:
    torchrun --nproc_per_node=4 -m morphseek_monai batch PAIRS.csv --out DIR. Exit code 0: all succeeded; 3: some are
    doubtful; 1: some failed, or could not be registered; 2: the table cannot be used. Under torchrun it is 0 in place
    of 3 and 1, since torchrun ends all processes when one of them fails.

    Args:
        pairs: CSV table with columns fixed and moving, and if wanted name (of the folder), fixed_label and moving_label
            (for Dice before and after), and options of morphseek register for single pairs. Paths may be relative to
            the table.
        out: folder for the results.
        overwrite: register again what is done.
        jobs: processes that share the pairs on this machine; each needs its own memory.
        options: those of morphseek register, for pairs that do not set them in the table.

    Raises:
        DataError: the table or an option cannot be used.
        SystemExit: 1 or 3, see above.
    """
    if not str(out):  # --out=$EMPTY
        raise DataError(f"batch: --out must be a folder, got {out!r}; name one")
    require_file(str(pairs), "table of pairs")
    from ..registration.batch.summary import count_outcomes
    from ..registration.batch.table import read_pairs
    from ..registration.options import make_options

    require_whole("batch: --jobs", jobs, 1)
    make_options(options, "batch")  # tells a wrong option as one of the command line, not of the table's first line
    rows = read_pairs(str(pairs), options)
    folder = Path(str(out))
    require_writable(folder)
    share = _share(os.environ)
    if share.world > 1 or jobs == 1:
        _run(rows, folder, share, overwrite)
    else:
        _run_jobs(rows, folder, jobs, overwrite)
    outcomes = count_outcomes(rows, folder)
    text = _text(outcomes, folder)
    code = EXIT_CODES[_worst(outcomes)]
    if code and share.world == 1:
        raise VerdictExit(text, code)
    return text


def _share(environment: Mapping[str, str]) -> Share:
    """What torchrun, or another launcher, gave this process to do."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    found = {name: environment[name] for name in names if environment.get(name)}
    try:
        rank, world, local_rank, local_world = (int(found.get(n, d)) for n, d in zip(names, (0, 1, 0, 1)))
    except ValueError:
        rank, world, local_rank, local_world = -1, 1, 0, 1
    if not (0 <= rank < world and local_rank >= 0 and local_world >= 1):
        raise DataError(f"batch: RANK must be a number below WORLD_SIZE, as torchrun sets them, got {found}; unset it")
    from ..registration.batch.run import Share

    return Share(rank, world, local_rank, local_world)


def _run(rows: Sequence[PairRow], folder: Path, share: Share, overwrite: bool) -> None:
    if share.local_world > 1:
        # as torchrun does for OpenMP: together no more threads than processors
        each = max(1, (os.cpu_count() or 1) // share.local_world)
        os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", str(each))
        if "OMP_NUM_THREADS" not in os.environ:
            import torch

            torch.set_num_threads(each)
    from ..registration.batch.run import run_batch

    with progress(f"[{share.rank}] " if share.world > 1 else ""), terminable():
        run_batch(rows, folder, share, overwrite)


def _run_jobs(rows: Sequence[PairRow], folder: Path, jobs: int, overwrite: bool) -> None:
    from ..registration.batch.run import Share

    context = multiprocessing.get_context("spawn")  # ITK and OpenMP have threads that a fork would lose
    shares = [Share(rank, jobs, rank, jobs) for rank in range(jobs)]
    processes = [context.Process(target=_run, args=(rows, folder, share, overwrite), daemon=True) for share in shares]
    for process in processes:
        process.start()
    for process in processes:
        process.join()


def _worst(outcomes: Mapping[str, int]) -> str:
    """What the exit code follows from; a pair that was not done, as its process was killed, is a failed one."""
    from ..registration.batch.summary import UNDONE

    if outcomes[FAILED] or outcomes["error"] or outcomes[UNDONE]:
        return FAILED
    return DOUBTFUL if outcomes[DOUBTFUL] else SUCCEEDED


def _text(outcomes: Mapping[str, int], folder: Path) -> str:
    from ..registration.batch.summary import SUMMARY

    words = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items() if count)
    count = sum(outcomes.values())
    return f"{count} pair{'' if count == 1 else 's'}: {words}; see {folder / SUMMARY}"
