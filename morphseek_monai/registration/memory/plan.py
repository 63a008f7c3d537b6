"""How much memory a registration will take, and what to give up where there is less.

The peak is that of one of a few moments, whichever is the highest. What each holds per voxel was measured; how well the
estimate agrees with the memory of real runs is in ``docs/benchmarks/register_memory.md``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

from morphseek_monai.base.errors import DataError
from morphseek_monai.base.machine import available_memory, gibibytes, resident_memory
from morphseek_monai.inference.find import InferenceOptions
from morphseek_monai.registration.memory.footprint import forward_bytes
from morphseek_monai.registration.models.model import RegistrationModel
from morphseek_monai.registration.prepare.finest import MOST_VOXELS
from morphseek_monai.registration.prepare.network_grid import network_grid, own_axes
from morphseek_monai.space.grid import Grid
from morphseek_monai.space.image import orient

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_LEAST = 2**20  # a limit below it is a forgotten unit


class _Peak(NamedTuple):
    """Bytes per voxel of the fixed, the moving, the field's and the optimiser's grid; share of the feature maps."""

    fixed: int
    moving: int
    field: int
    optimiser: int
    feature_maps: float


# what comes on top of the process as it is with both scans read; after the network the allocator keeps a part of it
_PEAKS = (
    _Peak(20, 20, 0, 0, 0.0),  # intensities and alignment: sorted copies
    _Peak(12, 12, 0, 0, 1.0),  # network
    _Peak(20, 20, 0, 105, 0.5),  # optimiser: images, window means and their sums, forces
    _Peak(12, 12, 52, 12, 0.5),  # the field on the fixed grid, and its inverse
    _Peak(28, 8, 28, 0, 0.5),  # warped image and report: on the fixed grid
)
# bytes per voxel of the same grids for one more contrast or mask: prepared and continued; images, their means, a level
_MORE = (8, 8, 0, 32)
_LIBRARIES = 100 * 2**20  # what is loaded on first use, matplotlib above all
_WORKSPACE = 1.25  # convolutions on the CPU reorder their inputs
_SAMPLES = 48  # per voxel of the network's grid: mean and squares of the fields, the best and the newest one


def parse_memory(text: str | int | float) -> int:
    """Bytes of ``"8G"``, ``"8GB"``, ``"900M"``, or of a plain number of bytes.

    Raises:
        DataError: it is no size, or less than 1 MiB.

    Example:
        >>> parse_memory("1.5G")
        1610612736
    """
    found = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([KMGT]?)(I?B)?\s*", str(text).upper())
    size = int(float(found[1]) * _UNITS[found[2]]) if found else 0
    if size < _LEAST:
        raise DataError(f"max_memory must be a size such as 8G or 900M, got {text!r}; correct it")
    return size


class MemoryPlan(NamedTuple):
    """What a registration will take.

    Attributes:
        bytes: estimated peak of this process's memory, from the start to the files written.
        limit: that it was planned for; 0 where unknown.
        field: the displacement field's voxels are so many times those of the fixed image, 1 where memory suffices.
        network: likewise for the network's grid.
        notices: what was given up, in words.
    """

    bytes: int
    limit: int
    field: int
    network: float
    notices: tuple[str, ...]

    @property
    def text(self) -> str:
        """In words, e.g. ``"estimated memory: 2.1 GiB of 20.3 GiB"``."""
        return f"estimated memory: {gibibytes(self.bytes)}" + (f" of {gibibytes(self.limit)}" if self.limit else "")


def plan_memory(
    fixed: Grid,
    moving: Grid,
    model: RegistrationModel,
    options: InferenceOptions,
    limit: str | int | None,
    more: int = 0,
) -> MemoryPlan:
    """Estimate the peak and, where it exceeds the limit, coarsen the field's grid, then the network's.

    The network's grid is taken as large as the fixed image's whole field of view makes it; where the foreground is
    smaller, so will be the peak. A network on a GPU costs no memory of the machine, but must fit into what is free on
    the GPU.

    Args:
        fixed: grid of the fixed scan, which is in memory already.
        moving: grid of the moving scan, likewise.
        model: loaded bundle.
        options: what else is computed.
        limit: bytes or ``"8G"`` for the whole process; None takes what it holds and what is free.
        more: further contrasts, and masks, that are resampled and compared beside the images.

    Raises:
        DataError: not even the coarsest grids fit.
    """
    allowed = available_memory() if limit is None else parse_memory(limit)
    free_on_gpu = torch.cuda.mem_get_info(model.device)[0] if model.device.type == "cuda" else 0
    tried: list[_Candidate] = []
    for candidate in _candidates(fixed, moving, model, options, more):
        tried.append(candidate)
        if (not allowed or candidate.host <= allowed) and candidate.gpu <= free_on_gpu:
            return MemoryPlan(
                candidate.host, allowed, candidate.field, candidate.network, _notices(candidate, tried[0], allowed)
            )
    if candidate.gpu > free_on_gpu:
        raise DataError(
            f"device {model.device} has {gibibytes(free_on_gpu)} free, the network needs an estimated"
            f" {gibibytes(candidate.gpu)} even on the coarsest grid; free it or use device cpu"
        )
    free = " (what is free)" if limit is None else ""
    least = min(option.host for option in tried)
    raise DataError(
        f"max_memory is {gibibytes(allowed)}{free}, the registration needs an estimated {gibibytes(least)} even on the"
        " coarsest grids; allow more, or crop or downsample the images"
    )


class _Candidate(NamedTuple):
    """Factors and grids of field and network, and bytes in the machine's and the GPU's memory."""

    field: int
    network: float
    field_grid: Grid
    network_grid: Grid
    host: int
    gpu: int


def _candidates(
    fixed: Grid, moving: Grid, model: RegistrationModel, options: InferenceOptions, more: int
) -> Iterator[_Candidate]:
    """From the finest to the coarsest; the field, which is only interpolated, is given up before the network's grid."""
    full = _network_grid(fixed, model)
    for factor in (1.0, 1.5, 2.0):
        network = full.coarsened(factor, model.network.stride) if factor > 1 else full
        maps = _network_bytes(model, network.size, options)
        gpu = maps if model.device.type == "cuda" else 0
        for field in (1, 2, 4):
            grid = fixed.coarsened(field) if field > 1 else fixed
            voxels = _optimiser_voxels(fixed, moving, options, factor)
            host = _host_bytes((fixed, moving, grid), voxels, maps - gpu, more)
            yield _Candidate(field, factor, grid, network, host, gpu)


def _network_grid(fixed: Grid, model: RegistrationModel) -> Grid:
    """The largest that the fixed image's foreground, unknown yet, can ask for."""
    everywhere = orient(np.broadcast_to(np.True_, fixed.size), fixed.affine, model.orientation)
    within = everywhere.within(own_axes(everywhere))
    return network_grid(within, within.array, model)


def _network_bytes(model: RegistrationModel, size: tuple[int, int, int], options: InferenceOptions) -> int:
    voxels = math.prod(size)
    needed = [forward_bytes(model.network, size) + _SAMPLES * voxels * bool(options.samples)]
    return int(_WORKSPACE * max(needed))


def _optimiser_voxels(fixed: Grid, moving: Grid, options: InferenceOptions, factor: float) -> int:
    """Of its finest level, as fine as the coarser of the two scans, were the foreground everywhere."""
    if options.refine == "off":
        return 0
    finest = max(float(fixed.spacing.min()), float(moving.spacing.min()))
    shrink = np.maximum(1.0, finest / fixed.spacing)
    return int(min(math.prod((np.array(fixed.size) / shrink).tolist()), MOST_VOXELS) / factor**3)


def _host_bytes(grids: tuple[Grid, Grid, Grid], optimiser: int, feature_maps: int, more: int) -> int:
    counts = [math.prod(grid.size) for grid in grids] + [optimiser]
    peak = max(
        sum(count * (size + more * _MORE[i] * (size > 0)) for i, (count, size) in enumerate(zip(counts, peak_of[:4])))
        + feature_maps * peak_of.feature_maps
        for peak_of in _PEAKS
    )
    return resident_memory() + _LIBRARIES + int(peak)


def _notices(chosen: _Candidate, full: _Candidate, allowed: int) -> tuple[str, ...]:
    given_up = []
    if chosen.field > 1:
        given_up.append(
            f"the displacement field's voxels are {chosen.field} times as large as the fixed image's,"
            f" {_size(chosen.field_grid)}"
        )
    if chosen.network > 1:
        given_up.append(
            f"the network's grid is {chosen.network:g} times as coarse, {_size(chosen.network_grid)}, and so is the"
            " optimiser's"
        )
    why = f"to save memory (an estimated {gibibytes(full.host)} are needed, {gibibytes(allowed)} may be used)"
    return tuple(f"{why}: {what}" for what in given_up)


def _size(grid: Grid) -> str:
    return " x ".join(map(str, grid.size))
