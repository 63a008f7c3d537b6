"""Time and memory of `morphseek register` of two checkouts, in turn, on one pair; prints a Markdown table.

Each run is a process of its own with the checkout on PYTHONPATH, as a user starts it, report included; the checkouts
take turns, so that both see the same machine, after one round that only warms the disk cache. Ratios are within each
round, new to old; the table has their medians. The peak is the kernel's ``ru_maxrss``; this script loads no library, so
that its own memory, which a new process begins with, is none of it.

Run: python docs/benchmarks/register_time.py --old ../before --new . --fixed F.nii.gz --moving M.nii.gz
     [--rounds 3] [--threads 2] [--options "--report False"]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple


class Spent(NamedTuple):
    """What one run took."""

    wall: float
    processor: float
    mebibytes: float


def measure(checkout: Path, args: argparse.Namespace, folder: Path) -> Spent:
    """Register once."""
    command = [sys.executable, "-m", "morphseek_monai", "register", f"--fixed={args.fixed}", f"--moving={args.moving}"]
    environment = os.environ | {"PYTHONPATH": str(checkout.resolve()), "OMP_NUM_THREADS": str(args.threads)}
    start = time.perf_counter()
    process = subprocess.Popen(
        [*command, f"--out={folder}", *args.options.split()], env=environment, cwd=folder, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1, 3):  # whatever the verdict
        raise SystemExit(f"{checkout}: {' '.join(command)} ended with {process.returncode}")
    return Spent(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--old", type=Path, required=True)
    parser.add_argument("--new", type=Path, required=True)
    parser.add_argument("--fixed", type=Path, required=True)
    parser.add_argument("--moving", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--options", default="", help="of register, for both")
    args = parser.parse_args()
    args.fixed, args.moving = args.fixed.resolve(), args.moving.resolve()
    rounds: list[tuple[Spent, Spent]] = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(args.rounds + 1):
            old, new = (measure(checkout, args, Path(folder)) for checkout in (args.old, args.new))
            print(f"round {number}: old {old}, new {new}", file=sys.stderr)
            if number:
                rounds.append((old, new))
    print("| | old | new | new : old |")
    print("|---|---|---|---|")
    for name, index, unit in (("wall", 0, "s"), ("processor", 1, "s"), ("peak memory", 2, "MiB")):
        old_value, new_value = (statistics.median(pair[side][index] for pair in rounds) for side in (0, 1))
        ratio = statistics.median(new[index] / old[index] for old, new in rounds)
        print(f"| {name} | {old_value:.1f} {unit} | {new_value:.1f} {unit} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
