"""A displacement field and an affine beside it, as ANTs and greedy write a registration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from morphseek_monai.base.errors import DataError
from morphseek_monai.spatial.point_map import PointMap

from .base import Target
from .field_image import write_field_image
from .itk import write_itk
from .matrix import write_matrix
from .parts import field_and_affine

__all__ = ["write_ants", "write_greedy"]

ENDINGS = (".nii.gz", ".nii")


def write_ants(target: Target) -> list[Path]:
    """``OUT1Warp.nii.gz`` and ``OUT0GenericAffine.mat``, where OUT is a prefix, as ``antsRegistration -o OUT`` names
    them; ``antsApplyTransforms -t OUT1Warp.nii.gz -t OUT0GenericAffine.mat`` applies both.
    """
    return _write(target, "1Warp.nii.gz", "0GenericAffine.mat", lambda path, m: write_itk(path, PointMap((m,))))


def write_greedy(target: Target) -> list[Path]:
    """``OUT_warp.nii.gz`` and ``OUT_affine.mat``; ``greedy -r OUT_warp.nii.gz OUT_affine.mat`` applies both."""
    return _write(target, "_warp.nii.gz", "_affine.mat", write_matrix)


def _write(
    target: Target, field_end: str, affine_end: str, write_affine: Callable[[Path, NDArray[np.float64]], None]
) -> list[Path]:
    """The two files, without one that would say nothing."""
    field, matrix = field_and_affine(target)
    prefix = _prefix(target.path)
    written = []
    if field is not None:
        written.append(prefix.with_name(prefix.name + field_end))
        write_field_image(written[0], field)
    if field is None or not _identity(matrix):
        written.append(prefix.with_name(prefix.name + affine_end))
        write_affine(written[-1], matrix)
    return written


def _prefix(path: Path) -> Path:
    if path.name.lower().endswith((*ENDINGS, ".mat", ".h5", ".txt", ".tfm")):
        raise DataError(
            f"transform {path} must be the beginning of two names, of a warp and an affine, e.g. {path.parent / 'my'};"
            " leave the ending out"
        )
    return path


def _identity(matrix: NDArray[np.float64]) -> bool:
    return bool(np.allclose(matrix, np.eye(4), rtol=0, atol=1e-12))
