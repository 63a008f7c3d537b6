"""One volume of a series brought to the mean by a displacement field, after its rigid map."""

from __future__ import annotations

from typing import Any

import nibabel as nib
from numpy.typing import NDArray

from morphseek_monai.base.errors import told
from morphseek_monai.evaluation.verdict import FAILED, SUCCEEDED
from morphseek_monai.spatial.point_map import PointMap

from ..options import RegisterOptions, updated
from ..register import register
from .volumes import Series

__all__ = ["deform"]


def deform(
    volumes: Series, number: int, mean: NDArray[Any], matrix: NDArray[Any], options: RegisterOptions
) -> tuple[PointMap | None, str]:
    """Register one volume to the mean.

    Args:
        volumes: of the series.
        number: of the volume.
        mean: ``(X, Y, Z)``.
        matrix: ``(4, 4)``, RAS mm, points of the mean -> points of the volume: where it starts.
        options: of the registration, but for ``affine``.

    Returns:
        points of the mean -> points of the volume, or None where the registration failed, or ended in an error; and
        what is to be told of it, nothing where it succeeded.
    """
    chosen = updated(options, {"affine": matrix})
    fixed, moving = (
        nib.Nifti1Image(array, volumes.scan.affine)  # type: ignore[no-untyped-call]
        for array in (mean, volumes.volume(number).astype("float32"))
    )
    try:
        result = register(fixed, moving, chosen)
    except Exception as error:  # one volume of many
        return None, f"its rigid map is used, for {told(error)}"
    reasons = ", ".join(f"{check.name} {check.value:.3g}" for check in result.checks if check.outcome == result.verdict)
    if result.verdict == FAILED:
        return None, f"its rigid map is used, for the registration failed ({reasons})"
    return result.forward, "" if result.verdict == SUCCEEDED else f"its registration is doubtful ({reasons})"
