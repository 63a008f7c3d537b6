"""How long `morphseek` takes to show help and to refuse, against importing torch; prints a Markdown table.

Both checkouts and `import torch` run alternately, each in a process of its own, after one round that only warms the
disk cache. Ratios are of processor seconds, which other programs on the machine hardly change, and within each round.

Run: python docs/benchmarks/startup.py --old ../before --new . [--rounds 7] [--only help ...]
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np

TORCH = "import torch"
# what is asked for -> words of the command line, in a folder that holds the image there.nii.gz and the table pairs.csv
CASES = {
    "help": "--help",
    "help of a command": "register --help",
    "misspelt option": "register there.nii.gz there.nii.gz out --stepz 3",
    "missing image": "register there.nii.gz none.nii.gz out",
    "wrong value": "register there.nii.gz there.nii.gz out --steps many",
    "unknown bundle": "register there.nii.gz there.nii.gz out --bundle none",
    "batch, missing table": "batch none.csv out",
    "batch, wrong column": "batch pairs.csv out",
    "warp-image, missing image": "warp-image none.nii.gz out.nii.gz --registration .",
    "map-points, missing folder": "map-points p.csv fixed none out.csv --from moving",
    "evaluate, missing label map": "evaluate --registration . --fixed_label none.nii.gz --moving_label there.nii.gz",
    "check-data, missing folder": "check-data none",
}


def seconds(code: str, words: list[str], folder: str, checkout: Path | None) -> tuple[float, float]:
    """Wall clock and processor time of one process."""
    paths = [str(checkout)] if checkout else []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=folder, env=environment, capture_output=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 2):
        raise SystemExit(f"{' '.join(words)} of {checkout}: {done.stderr.decode()[-400:]}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", type=Path, required=True, help="checkout to compare with")
    parser.add_argument("--new", type=Path, default=Path(), help="checkout to measure")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", nargs="+", choices=tuple(CASES), default=list(CASES), metavar="CASE")
    arguments = parser.parse_args()
    builds = {"old": arguments.old.resolve(), "new": arguments.new.resolve()}
    program = "from morphseek_monai.apps.main import main; main()"
    taken: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        values = np.arange(576, dtype=np.int16).reshape(9, 8, 8)
        nib.save(nib.Nifti1Image(values, np.eye(4)), Path(folder, "there.nii.gz"))
        Path(folder, "pairs.csv").write_text("fixed,moved\n")
        for turn in range(arguments.rounds + 1):
            for case in arguments.only:
                words = CASES[case]
                runs = [("torch", TORCH, None), *((name, program, path) for name, path in builds.items())]
                for name, code, path in runs:
                    time_taken = seconds(code, words.split(), folder, path)
                    if turn:
                        taken.setdefault((case, name), []).append(time_taken)

    def column(case: str, name: str, clock: int) -> float:
        return statistics.median(run[clock] for run in taken[case, name])

    def ratio(case: str, name: str, other: str) -> float:
        return statistics.median(a[1] / b[1] for a, b in zip(taken[case, name], taken[case, other]))

    print("| `morphseek ...` | old, s (processor s) | new, s (processor s) | old : torch | new : torch | old : new |")
    print("|---|---|---|---|---|---|")
    for case in arguments.only:
        times = (f"{column(case, name, 0):.2f} ({column(case, name, 1):.2f})" for name in builds)
        ratios = (ratio(case, "old", "torch"), ratio(case, "new", "torch"), ratio(case, "old", "new"))
        print(f"| {case}: `{CASES[case]}` | {' | '.join(times)} | {' | '.join(f'{value:.2f}' for value in ratios)} |")
    torch = [run for case in arguments.only for run in taken[case, "torch"]]
    medians = (statistics.median(run[clock] for run in torch) for clock in (0, 1))
    print("\n`import torch`: {:.2f} s, {:.2f} s of processor".format(*medians))


if __name__ == "__main__":
    main()
