"""Resample any image, label map or series with a transform."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from morphseek_monai.base.errors import DataError
from morphseek_monai.data.scans.scan import Scan, write_scan
from morphseek_monai.space.grid import Grid

from .transform import INTERPOLATIONS, resample

__all__ = ["Warped", "warp_scan", "write_warped"]


class Warped(NamedTuple):
    """Result of :func:`warp_scan`.

    Attributes:
        array: ``(X, Y, Z)`` of the grid, or ``(X, Y, Z, T)`` of a series; label maps in their own dtype, all else
            float32.
        interpolation: what was used.
        why: how ``auto`` came to it, empty where it was asked for.
        notices: what the user should know.
    """

    array: NDArray[Any]
    interpolation: str
    why: str
    notices: tuple[str, ...]


def warp_scan(
    scan: Scan, transform: Any, grid: Grid, interpolation: str = "auto", outside: float = 0.0
) -> Warped:
    """Bring an image to a grid, each volume in one interpolation.

    Args:
        scan: an image or label map ``(X, Y, Z)``, or a series ``(X, Y, Z, T)``, every volume of which is moved alike.
        transform: ITK transform, **points of the grid -> points of the scan**.
        grid: of the result.
        interpolation: ``auto`` is ``nearest`` for label maps, so that no new label appears, and ``linear`` for
            everything else; or ``linear``, ``nearest``, ``bspline``, ``sinc``.
        outside: value where the scan has no voxel.

    Raises:
        DataError: an unknown interpolation.
    """
    if interpolation not in ("auto", *INTERPOLATIONS):
        known = ", ".join(("auto", *INTERPOLATIONS))
        raise DataError(f"interpolation must be one of {known}, got {interpolation!r}; choose one")
    notices, why = [], ""
    chosen = interpolation
    if interpolation == "auto":
        chosen = "nearest" if scan.is_label else "linear"
        why = f"{scan.name} looks like {'a label map' if scan.is_label else 'an image'}"
    elif scan.is_label and chosen != "nearest":
        notices.append(f"{scan.name} looks like a label map: {chosen} interpolation makes values that are no labels")
    if not scan.is_label and outside == 0 and float(scan.array.min()) < 0:
        notices.append(f"{scan.name} has negative values, and 0 where it ends; for a CT write --outside -1024")

    keep = chosen == "nearest"
    source = scan.array
    if keep and source.dtype.kind == "f" and np.array_equal(source, np.rint(source)):
        source = source.astype(np.int64)  # label ids in a file of floats: exact beyond 2^24 too
    volumes = source if source.ndim == 4 else source[..., None]
    result = np.empty((*grid.size, volumes.shape[3]), dtype=scan.array.dtype if keep else np.float32)
    for number in range(volumes.shape[3]):
        result[..., number] = resample(volumes[..., number], scan.affine, transform, grid, chosen, outside)
    return Warped(result if source.ndim == 4 else result[..., 0], chosen, why, tuple(notices))


def write_warped(path: str | os.PathLike[str], warped: Warped, grid: Grid, scan: Scan) -> None:
    """Write what :func:`warp_scan` returned; a NIfTI series keeps its time step.

    Args:
        path: ``.nii``, ``.nii.gz``, ``.nrrd`` or ``.mha``.
        warped: the result.
        grid: on which it lies.
        scan: from which it was made.

    Raises:
        DataError: the file cannot be written.
    """
    header: Any = nib.Nifti1Header()  # type: ignore[no-untyped-call]
    time_unit = "unknown"
    if warped.array.ndim == 4 and isinstance(scan.header, nib.Nifti1Header):
        time_unit = scan.header.get_xyzt_units()[1]  # type: ignore[no-untyped-call]
        header["pixdim"][4] = scan.header["pixdim"][4]
    header.set_xyzt_units("mm", time_unit)
    write_scan(path, warped.array, grid, like=replace(scan, array=warped.array, affine=grid.affine, header=header))
