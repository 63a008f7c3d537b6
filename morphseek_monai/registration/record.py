"""The content of ``result.json``: all that is needed to repeat a registration and to trust it."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from morphseek_monai.base.machine import peak_memory
from morphseek_monai.base.version import __version__, installed
from morphseek_monai.registration.memory.plan import MemoryPlan
from morphseek_monai.registration.models.model import RegistrationModel
from morphseek_monai.registration.prepare.intensity import PreparedImage
from morphseek_monai.registration.prepare.pair import NetworkPair
from morphseek_monai.registration.prepare.scan_set import ScanSet
from morphseek_monai.space.grid import Grid

if TYPE_CHECKING:
    from morphseek_monai.registration.given import Given
    from morphseek_monai.registration.options import RegisterOptions
    from morphseek_monai.registration.result import RegistrationResult

PACKAGES = ("torch", "monai", "itk", "nibabel", "numpy", "h5py")


def make_record(
    result: RegistrationResult,
    pair: NetworkPair,
    model: RegistrationModel,
    plan: MemoryPlan,
    spent: Mapping[str, Any],
    seconds: Mapping[str, float],
    options: RegisterOptions,
    given: Given,
) -> dict[str, Any]:
    """Gather the record; plain JSON types only.

    Args:
        result: with its metrics, checks and notices; the record is not yet in it.
        pair: on the network's grid.
        model: that registered.
        plan: of the memory.
        spent: what was done beyond the network's mean, by :func:`~morphseek_monai.inference.find.find_field` and
            :func:`~morphseek_monai.registration.fit.fit_field`.
        seconds: of each part of the work.
        options: of the call.
        given: scans with their contrasts and masks, landmarks.
    """
    grid = pair.grid
    marks = given.landmarks
    return {
        "verdict": result.verdict,
        "checks": [check._asdict() for check in result.checks],
        "metrics": {stage: dict(values) for stage, values in result.metrics.items()},
        "notices": list(result.notices),
        "fixed": _scan(given.fixed, pair.fixed),
        "moving": _scan(given.moving, pair.moving),
        "outside": result.outside,
        "affine": {"start": pair.start, "matrix_ras_fixed_to_moving": pair.affine.tolist()},
        **({} if marks is None else {"landmarks": {"files": list(marks.names), "count": len(marks.fixed)}}),
        "network": {**_grid(grid), "field": _grid(result.field_grid), **spent},
        "bundle": {
            "name": model.name,
            "version": model.version,
            "sha256": model.sha256,
            "made_data": model.made_data,
            "device": str(model.device),
        },
        "seed": options.seed,
        "arguments": options.record(),
        "seconds": dict(seconds),
        "estimated_memory_mib": round(plan.bytes / 2**20),
        "peak_memory_mib": peak_memory() // 2**20,
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Versions of Python, of this package and of those it computes with."""
    found = {name: installed(name) or "not installed" for name in PACKAGES}
    return {"python": platform.python_version(), "morphseek_monai": __version__, **found}


def _scan(given: ScanSet, prepared: PreparedImage) -> dict[str, Any]:
    scan, mask = given.scan, given.mask
    more: dict[str, Any] = {}
    if given.others:
        more["contrasts"] = [scan.name, *(other.name for other in given.others)]
    if mask is not None:
        more |= {"mask": mask.name, "mask_percent": round(100 * float(mask.array.mean()), 3)}
    return {
        "path": scan.name,
        **_grid(scan.grid),
        "dtype": str(scan.array.dtype),
        "modality": prepared.modality,
        "intensity": prepared.description,
        **more,
    }


def _grid(grid: Grid) -> dict[str, Any]:
    spacing = [round(float(value), 6) for value in grid.spacing]
    return {"size": [int(n) for n in grid.size], "spacing": spacing, "affine": grid.affine.tolist()}
