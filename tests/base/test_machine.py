"""Memory of a machine, a container, a batch job: from kernel files that the tests write."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from morphseek_monai.base import machine
from morphseek_monai.base.machine import available_memory, gibibytes, machine_memory, peak_memory, resident_memory

GIB = 2**30
PAGE = os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 10 GiB available; this process holds 1 GiB."""
    monkeypatch.setattr(machine, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(machine, "_CGROUPS", tmp_path / "cgroup")
    write(tmp_path, "proc/meminfo", f"MemTotal: 33554432 kB\nMemFree: 7 kB\nMemAvailable: {10 * GIB // 1024} kB\n")
    write(tmp_path, "proc/self/statm", f"999999999 {GIB // PAGE} 3 4 5 6 7\n")
    return tmp_path


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def test_free_memory_counts_from_what_the_process_holds(kernel: Path) -> None:
    assert resident_memory() == GIB
    assert available_memory() == 11 * GIB


def test_a_batch_job_of_control_groups_2_is_limited_by_any_group_above_it(kernel: Path) -> None:
    write(kernel, "proc/self/cgroup", "0::/slurm/job_7/step_0\n")
    write(kernel, "cgroup/slurm/job_7/step_0/memory.max", "max\n")
    write(kernel, "cgroup/slurm/job_7/memory.max", f"{4 * GIB}\n")
    write(kernel, "cgroup/slurm/job_7/memory.current", f"{3 * GIB}\n")
    # 1 GiB of the 3 are pages of files nobody needs
    write(kernel, "cgroup/slurm/job_7/memory.stat", f"anon 5\nactive_file 77\ninactive_file {GIB}\n")
    write(kernel, "cgroup/slurm/memory.max", f"{40 * GIB}\n")
    assert available_memory() == GIB + 2 * GIB
    assert machine_memory() == min(4 * GIB, os.sysconf("SC_PHYS_PAGES") * PAGE)


def test_a_container_that_sees_its_own_group_as_the_top(kernel: Path) -> None:
    write(kernel, "proc/self/cgroup", "0::/kubepods/pod5/container9\n")
    write(kernel, "cgroup/memory.max", f"{2 * GIB}\n")
    write(kernel, "cgroup/memory.current", f"{GIB}\n")
    assert available_memory() == 2 * GIB


def test_control_groups_1(kernel: Path) -> None:
    write(kernel, "proc/self/cgroup", "12:cpu,cpuacct:/job\n7:memory:/job\n0::/unlimited\n")
    write(kernel, "cgroup/memory/job/memory.limit_in_bytes", f"{3 * GIB}\n")
    write(kernel, "cgroup/memory/job/memory.usage_in_bytes", f"{2 * GIB}\n")
    write(kernel, "cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
    write(kernel, "cgroup/memory/memory.usage_in_bytes", "5\n")
    assert available_memory() == 2 * GIB


def test_a_job_beyond_its_limit_has_what_it_holds(kernel: Path) -> None:
    write(kernel, "proc/self/cgroup", "0::/\n")
    write(kernel, "cgroup/memory.max", f"{GIB}\n")
    write(kernel, "cgroup/memory.current", f"{2 * GIB}\n")
    assert available_memory() == GIB


def test_unknown_is_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_PROC", tmp_path)
    monkeypatch.setattr(machine, "_CGROUPS", tmp_path)
    assert available_memory() == resident_memory() == 0


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux only")
def test_this_process_grows_by_what_it_allocates() -> None:
    before = resident_memory()
    block = np.ones(512 * 2**20, dtype=np.uint8)
    # a kernel may take idle pages of the process away meanwhile
    assert 0.8 * block.nbytes < resident_memory() - before < 1.2 * block.nbytes
    assert available_memory() > resident_memory() > block.nbytes
    assert available_memory() <= machine_memory() + 2**30


def test_gibibytes() -> None:
    assert gibibytes(20.3 * GIB) == "20.3 GiB"


def test_the_peak_is_that_of_this_process_not_of_its_parent() -> None:
    """Linux hands the maximum of getrusage down; a parent that holds 300 MiB starts a small child."""
    with open("/proc/self/status", encoding="ascii") as status:
        high = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    assert peak_memory() == pytest.approx(high * 1024, rel=0.05)
    held = np.ones(300 * 2**20, np.uint8)
    program = "from morphseek_monai.base.machine import peak_memory; print(peak_memory())"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert 2**20 < int(done.stdout) < held.nbytes < peak_memory()


def test_a_system_that_tells_no_peak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_PROC", tmp_path)
    assert peak_memory() > 2**20  # by getrusage, as on macOS
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows
    assert peak_memory() == 0
