"""The memory of this machine, as far as this process may use it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["available_memory", "gibibytes", "machine_memory", "peak_memory", "resident_memory"]

_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")


def machine_memory() -> int:
    """Bytes that a process may use: the machine's, or less in a limited container or batch job; 0 where unknown."""
    limits = [limit for limit, _ in _limits()]
    with suppress(AttributeError, ValueError, OSError):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(limits, default=0)


def available_memory() -> int:
    """Bytes that this process may grow to: what it holds, and what is free for it; 0 where unknown (not on Linux).

    Free is what the kernel calls available, less in a limited container or batch job (control groups, 1 or 2).
    """
    found = re.search(r"^MemAvailable:\s+(\d+) kB", _text(_PROC / "meminfo"), re.M)
    if found is None:
        return 0
    free = [int(found[1]) * 1024, *(limit - used for limit, used in _limits())]
    return resident_memory() + max(0, min(free))


def resident_memory() -> int:
    """Bytes of memory that this process holds now; 0 where unknown (not on Linux)."""
    fields = _text(_PROC / "self" / "statm").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") if len(fields) > 1 else 0


def peak_memory() -> int:
    """Bytes of the machine's memory that this process held at most; 0 where the system does not tell, as on Windows."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", _text(_PROC / "self" / "status"), re.M)
    if found is not None:  # getrusage begins with what the parent process had
        return int(found[1]) * 1024
    with suppress(ImportError):
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return 0


def gibibytes(size: float) -> str:
    """Bytes in words.

    Example:
        >>> gibibytes(3 * 2**29)
        '1.5 GiB'
        >>> gibibytes(2e6)
        '0.0019 GiB'
    """
    return f"{size / 2**30:.1f} GiB" if size >= 2**29 else f"{size / 2**30:.2g} GiB"


def _limits() -> Iterator[tuple[int, int]]:
    """Limit and use of the control groups that this process is in, innermost first."""
    for line in _text(_PROC / "self" / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":  # version 2
            top, files = _CGROUPS, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):  # version 1
            top, files = _CGROUPS / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        group = top / path.lstrip("/")  # a container may see its own group as the top, whatever the path says
        for folder in (group, *group.parents):
            if folder.is_relative_to(top):
                yield from _limit(folder, *files)


def _limit(folder: Path, limit: str, usage: str, cache: str) -> Iterator[tuple[int, int]]:
    with suppress(ValueError):  # no such file, or "max", which is none
        bound = int(_text(folder / limit))
        # pages of files that nobody reads any more count as used, and make room when others need it
        idle = re.search(rf"^{cache} (\d+)", _text(folder / "memory.stat"), re.M)
        yield bound, int(_text(folder / usage) or 0) - (int(idle[1]) if idle else 0)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""
