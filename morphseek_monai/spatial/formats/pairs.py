"""A displacement field and an affine beside it, as ANTs and greedy write a registration."""

from __future__ import annotations

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
    field, matrix = field_and_affine(target)
    prefix = _prefix(target.path)
    written = []
    if field is not None:
        written.append(prefix.with_name(f"{prefix.name}1Warp.nii.gz"))
        write_field_image(written[0], field)
    if field is None or not _identity(matrix):
        written.append(prefix.with_name(f"{prefix.name}0GenericAffine.mat"))
        write_itk(written[-1], PointMap((matrix,)))
    return written


def write_greedy(target: Target) -> list[Path]:
    """``OUT_warp.nii.gz`` and ``OUT_affine.mat``; ``greedy -r OUT_warp.nii.gz OUT_affine.mat`` applies both."""
    field, matrix = field_and_affine(target)
    prefix = _prefix(target.path)
    written = []
    if field is not None:
        written.append(prefix.with_name(f"{prefix.name}_warp.nii.gz"))
        write_field_image(written[0], field)
    if field is None or not _identity(matrix):
        written.append(prefix.with_name(f"{prefix.name}_affine.mat"))
        write_matrix(written[-1], matrix)
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
