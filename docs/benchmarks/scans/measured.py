"""Run a command and note what it took: ``python scans/measured.py OUT.json COMMAND ...``.

A program of its own without imports of size, because Linux begins a child's peak of memory with what its parent had:
here that is 10 MiB, the floor of what can be measured.
"""

from __future__ import annotations

import json
import os
import sys
import time


def main() -> None:
    """Run, wait, write exit code, seconds of wall and processor time and the peak of memory in MiB."""
    out, *command = sys.argv[1:]
    start = time.perf_counter()
    process = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(process, 0)
    wall = time.perf_counter() - start
    with open(out, "w", encoding="utf-8") as file:
        cost = {"wall_s": wall, "cpu_s": usage.ru_utime + usage.ru_stime, "memory_mib": usage.ru_maxrss / 1024}
        json.dump({"code": os.waitstatus_to_exitcode(status), **cost}, file)


if __name__ == "__main__":
    main()
