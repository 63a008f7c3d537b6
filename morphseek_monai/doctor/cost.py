"""Time and memory that a training config will need on this machine."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from ..base.machine import gibibytes, machine_memory
from .report import ERROR, OK, WARN, Finding

if TYPE_CHECKING:
    from .training_config import TrainingConfig

__all__ = ["Cost", "estimate_cost", "gibibytes", "judge_cost", "machine_memory"]

_LIMIT_SECONDS = 120.0  # two iterations at the true size may take so long
_START_SECONDS = 300.0  # at half the size, the process's start included
_STEP = 32
_TIGHT = 0.8  # of the memory
_CACHED_BYTES = 5  # per voxel: float32 image and uint8 label, which PairDataset keeps


class Cost(NamedTuple):
    """What training will cost.

    Attributes:
        size: spatial size the network gets.
        seconds: per iteration, by phase.
        iterations: by phase.
        peak: bytes of the training process, or of the GPU.
        cache: bytes of the prepared images that stay in (host) memory.
        memory: bytes of this machine, or of the GPU; 0 where unknown.
        device: ``"cpu"`` or ``"cuda"``.
        measured: False for figures scaled from a smaller size.
        busy: whether other programs kept all cores busy meanwhile.
    """

    size: tuple[int, ...]
    seconds: dict[str, float]
    iterations: dict[str, int]
    peak: float
    cache: float
    memory: int
    device: str
    measured: bool
    busy: bool

    @property
    def hours(self) -> float:
        """All iterations; validation and reading not counted."""
        return sum(self.seconds[phase] * count for phase, count in self.iterations.items()) / 3600


def estimate_cost(config: TrainingConfig, size: Sequence[int], images: int, training: int) -> Cost:
    """Measure one iteration of each phase on random data.

    First at half the size (rounded up to a multiple of 32, so that no network pads it). If the true size is then
    expected to take at most two minutes and four fifths of the memory, it is measured too. Otherwise the time at half
    the size is scaled by the number of voxels, and the memory extrapolated linearly in the voxels, from the smallest
    size and half the size.

    Args:
        config: the training config.
        size: ``(D, H, W)`` that the network gets.
        images: number of images of both sides, which the data sets keep in memory.
        training: number of training images.

    Raises:
        RuntimeError: the config cannot be run at half the size; the message is the last line of its error.
    """
    iterations = config.iterations(training)
    busy = hasattr(os, "getloadavg") and os.getloadavg()[0] > (os.cpu_count() or 1)
    half = [min(n, math.ceil(n / 2 / _STEP) * _STEP) for n in size]
    small = _measure(config, half, list(iterations), _START_SECONDS)
    ratio = math.prod(size) / math.prod(half)
    least = small["least"]
    slope = max(0, small["peak"] - least["peak"]) / max(1, math.prod(half) - least["voxels"])
    peak = small["peak"] + slope * (math.prod(size) - math.prod(half))
    seconds = {phase: value * ratio for phase, value in small["seconds"].items()}
    memory = _device_memory(small["device"])
    measured = tuple(half) == tuple(size)
    if not measured and 2 * sum(seconds.values()) <= _LIMIT_SECONDS and peak <= _TIGHT * (memory or math.inf):
        with suppress(RuntimeError):  # the estimate stands where the true size fails after all
            full = _measure(config, size, list(iterations), 2 * _LIMIT_SECONDS)
            peak, seconds, measured = full["peak"], full["seconds"], True
    cached = images if config.get("train#dataset#cache", True) else 0
    cache = float(cached * math.prod(size) * _CACHED_BYTES * max(1, config.get("num_workers", 0)))
    return Cost(tuple(size), seconds, iterations, peak, cache, memory, small["device"], measured, busy)


def _measure(config: TrainingConfig, size: Sequence[int], phases: list[str], limit: float) -> dict[str, Any]:
    request = {"files": config.files, "overrides": config.overrides, "size": list(size), "phases": phases}
    command = [sys.executable, "-m", "morphseek_monai.doctor.measure_cost", json.dumps(request)]
    shown = " x ".join(map(str, size))
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"two iterations at {shown} took more than {limit:.0f} s") from None
    if done.returncode < 0:  # killed by a signal, most often for its memory
        raise RuntimeError(f"the process was killed at {shown} (signal {-done.returncode}), probably for its memory")
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise RuntimeError(f"one iteration at {shown} failed: {lines[-1]}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def _device_memory(device: str) -> int:
    if device == "cuda":
        return int(torch.cuda.get_device_properties(0).total_memory)
    return machine_memory()


def judge_cost(cost: Cost) -> list[Finding]:
    """Findings about the memory.

    Args:
        cost: of the config.
    """
    how = "measured" if cost.measured else "estimated"
    cache_cure = "set --train#dataset#cache False, or lower --spatial_size or --num_workers"
    if cost.device == "cpu":
        cure = "lower --spatial_size" if cost.cache < cost.peak else cache_cure
        return [_memory_finding(f"training needs {{}} of memory ({how})", cost.peak + cost.cache, cost.memory, cure)]
    return [
        _memory_finding(f"training needs {{}} of GPU memory ({how})", cost.peak, cost.memory, "lower --spatial_size"),
        _memory_finding("prepared images fill {} of memory", cost.cache, machine_memory(), cache_cure),
    ]


def _memory_finding(what: str, needed: float, memory: int, cure: str) -> Finding:
    what = what.format(gibibytes(needed)) + (f", there are {gibibytes(memory)}" if memory else "")
    if memory and needed > memory:
        return Finding(ERROR, "memory", (), what, cure)
    if memory and needed > _TIGHT * memory:
        return Finding(WARN, "memory", (), what, cure)
    return Finding(OK, "memory", (), what)
