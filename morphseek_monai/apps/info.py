"""``morphseek info``: what a bug report should say about the machine."""

from __future__ import annotations

import os
import platform
import sys
from importlib import import_module

from ..base.machine import gibibytes, machine_memory
from ..base.version import __version__, installed

__all__ = ["info"]

_PACKAGES = (
    "torch", "monai", "itk", "nibabel", "numpy", "scipy", "pytorch-ignite", "fire", "SimpleITK", "antspyx",
    "monailabel", "onnxruntime",
)  # fmt: skip

# the first two are not on Windows, the last is an extra
_MAY_LACK = {
    "resource": "peak memory is told on Linux only",
    "fcntl": "no experiments",
    "pydicom": "no multi-frame DICOM",
}


def info() -> str:
    """Tell versions and hardware for a bug report, without names of users, machines or folders.

    Returns:
        one line per item.
    """
    import torch

    rows = [
        ("morphseek_monai", __version__),
        ("python", f"{platform.python_version()} ({platform.python_implementation()})"),
        ("system", f"{platform.system()} {platform.release()}, {platform.machine()}"),
        ("processors", f"{_usable_processors()} usable of {os.cpu_count()}, torch threads {torch.get_num_threads()}"),
        ("memory", gibibytes(machine_memory()) if machine_memory() else "unknown"),
        ("accelerator", _accelerator()),
        ("missing", _missing()),
        *((name, installed(name) or "not installed") for name in _PACKAGES),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _missing() -> str:
    """Modules that not every system has, and what it goes without."""
    missing = []
    for module, purpose in _MAY_LACK.items():
        try:
            import_module(module)
        except ImportError:
            missing.append(f"{module} ({purpose})")
    return ", ".join(missing) or "nothing"


def _usable_processors() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _accelerator() -> str:
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
        return f"CUDA {torch.version.cuda}, cuDNN {cudnn}: {', '.join(names)}"
    if torch.backends.mps.is_available():
        return "MPS"
    return f"none (torch built for CUDA {torch.version.cuda})" if torch.version.cuda else "none (torch for CPU)"
