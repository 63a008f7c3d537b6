"""What a report shows, gathered by whoever ran the registration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from morphseek_monai.fields import ddf_to_world

from .planes import Sliced

if TYPE_CHECKING:
    from morphseek_monai.evaluation.verdict import Check

_SLAB = 16  # slices whose vectors are converted at once: a field in mm beside the one in voxels may not fit
VERDICTS = ("succeeded", "doubtful", "failed")

Facts = Sequence[tuple[str, Sequence[tuple[str, str]]]]


@dataclass(frozen=True)
class ReportContent:
    """One registration as its report shows it; every volume lies on the fixed image's grid.

    Args:
        title: heading, e.g. the names of the two files.
        verdict: ``"succeeded"``, ``"doubtful"`` or ``"failed"``.
        checks: what the verdict was made from.
        notices: remarks of the run, one line each.
        facts: tables of key and value: ``(heading, ((key, value), ...))``.
        metrics: stage (``"before"``, ``"affine"``, ``"after"``) -> name -> value; NaN where not measured.
        affine: ``(4, 4)``, voxel of the fixed grid -> RAS mm.
        fixed: fixed image ``(X, Y, Z)``.
        before: moving image by the headers alone ``(X, Y, Z)``; only its planes are looked at.
        aligned: moving image by the affine ``(X, Y, Z)``, likewise.
        warped: moving image by affine and field ``(X, Y, Z)``; its intensities, like those of the two before, need
            not be on the scale of ``fixed``.
        ddf: displacement ``(3, X, Y, Z)`` in voxels, from a point of the fixed image to where the affine begins.
        jacobian: determinant of the Jacobian ``(X, Y, Z)``; 0 and below folds.
        uncertainty: expected error of boundaries ``(X, Y, Z)`` in mm; None where it was not asked for.

    Raises:
        ValueError: a volume has another shape than ``fixed``, or ``verdict`` is none of the three.
    """

    title: str
    verdict: str
    checks: Sequence[Check]
    notices: Sequence[str]
    facts: Facts
    metrics: Mapping[str, Mapping[str, float]]
    affine: NDArray[np.float64]
    fixed: NDArray[Any]
    before: Sliced
    aligned: Sliced
    warped: NDArray[np.float32]
    ddf: NDArray[np.float32]
    jacobian: NDArray[np.float32]
    uncertainty: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"ReportContent() 'verdict' must be one of {', '.join(VERDICTS)}, got {self.verdict!r}")
        shape = self.fixed.shape
        if len(shape) != 3:
            raise ValueError(f"ReportContent() 'fixed' must have shape (X, Y, Z), got {list(shape)}")
        volumes: dict[str, Sliced | None] = {
            "before": self.before,
            "aligned": self.aligned,
            "warped": self.warped,
            "jacobian": self.jacobian,
            "uncertainty": self.uncertainty,
        }
        for name, volume in volumes.items():
            if volume is not None and tuple(volume.shape) != shape:
                raise ValueError(f"ReportContent() '{name}' must have shape {list(shape)}, got {list(volume.shape)}")
        if self.ddf.shape != (3, *shape):
            raise ValueError(f"ReportContent() 'ddf' must have shape {[3, *shape]}, got {list(self.ddf.shape)}")

    @cached_property
    def displacement_mm(self) -> NDArray[np.float32]:
        """Length of the field's displacement ``(X, Y, Z)`` in mm, without the affine's part."""
        magnitude = np.empty(self.fixed.shape, dtype=np.float32)
        for start in range(0, len(magnitude), _SLAB):
            part = slice(start, start + _SLAB)
            ddf = torch.from_numpy(np.ascontiguousarray(self.ddf[:, part], dtype=np.float32))
            # linalg.vector_norm() is ten times as slow here
            magnitude[part] = ddf_to_world(ddf[None], self.affine)[0].square().sum(0).sqrt()
        return magnitude
