"""Resample any image, label map or series with a transform."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from morphseek_monai.base.errors import DataError
from morphseek_monai.data.scans.kind import CT_AIR, guess_modality
from morphseek_monai.data.scans.scan import Scan, read_series, write_scan
from morphseek_monai.space.grid import Grid
from morphseek_monai.space.nifti_header import keep_time

from .label_centres import carry_centres
from .transform import INTERPOLATIONS, resample

__all__ = ["Warped", "value_outside", "warp_image", "warp_scan", "warp_values", "write_warped"]

OF_LABELS = ("nearest", "points")
CHOICES = ("auto", *INTERPOLATIONS, "points")
KNOWN = 0.5  # of an interpolated value: more must come from voxels that have one


class Warped(NamedTuple):
    """Result of :func:`warp_scan`.

    Attributes:
        array: ``(X, Y, Z)`` of the grid, or ``(X, Y, Z, T)`` of a series; label maps in their own dtype, all else
            float32.
        interpolation: what was used.
        why: how ``auto`` came to it, empty where it was asked for.
        notices: what the user should know.
        outside: value where the scan has none.
    """

    array: NDArray[Any]
    interpolation: str
    why: str
    notices: tuple[str, ...]
    outside: float


def warp_image(
    source: Any,
    transform: Any,
    grid: Grid,
    interpolation: str = "auto",
    outside: float | None = None,
    registered: float | None = None,
) -> tuple[Scan, Warped]:
    """Read an image, label map or series and bring it to a grid: all that warps on demand does it here.

    Args:
        source: as for :func:`~morphseek_monai.data.scans.scan.read_series`.
        transform: as for :func:`warp_scan`.
        grid: of the result.
        interpolation: as for :func:`warp_scan`; with ``nearest`` and ``points`` the source is a label map.
        outside: as for :func:`warp_scan`.
        registered: likewise.

    Returns:
        what was read, and what came of it.

    Raises:
        DataError: the image cannot be read, or as :func:`warp_scan`.
    """
    scan = read_source(source, interpolation)
    return scan, warp_scan(scan, transform, grid, interpolation, outside, registered)


def read_source(source: Any, interpolation: str) -> Scan:
    """Read an image, label map or series that is to be warped.

    Args:
        source: as for :func:`~morphseek_monai.data.scans.scan.read_series`.
        interpolation: as for :func:`warp_scan`; with ``nearest`` and ``points`` the source is a label map.

    Raises:
        DataError: it cannot be read, or there is no such interpolation.
    """
    _check_choice(interpolation)
    return read_series(source, "label" if interpolation in OF_LABELS else "image")


def warp_scan(
    scan: Scan,
    transform: Any,
    grid: Grid,
    interpolation: str = "auto",
    outside: float | None = None,
    registered: float | None = None,
) -> Warped:
    """Bring an image to a grid, each volume in one interpolation.

    Where an image is NaN it is taken to end: what is interpolated mostly from such voxels gets the value outside, the
    rest comes from the others alone.

    Args:
        scan: an image or label map ``(X, Y, Z)``, or a series ``(X, Y, Z, T)``, every volume of which is moved alike.
        transform: ITK transform, **points of the grid -> points of the scan**.
        grid: of the result.
        interpolation: ``auto`` is ``nearest`` for label maps, so that no new label appears, and ``linear`` for
            everything else; or ``linear``, ``nearest``, ``bspline``, ``sinc``; ``points`` carries the centre of each
            label, for electrodes and other marks that are smaller than a voxel of the grid.
        outside: value where the scan has none. None takes 0 for label maps, NaN for images that have NaN themselves,
            ``registered`` where the image has values as low, air for other CTs, and else 0.
        registered: value outside of the image that was registered, where this is of the same subject.

    Raises:
        DataError: an unknown interpolation, one left to ``auto`` where it is doubtful whether this is a label map, or a
            value outside that the type of the labels cannot hold.
    """
    _check_choice(interpolation)
    notices, why = [], ""
    chosen = interpolation
    if interpolation == "auto":
        kind = scan.kind
        if kind.name == "doubtful":
            raise DataError(
                f"image {scan.name} may be a label map or an image ({kind.reason}); say which with --interpolation"
                " nearest or --interpolation linear"
            )
        chosen = "nearest" if kind.name == "label" else "linear"
        why = f"{scan.name} is {'a label map' if kind.name == 'label' else 'an image'}: {kind.reason}"
    elif chosen not in OF_LABELS and scan.kind.name == "label":
        notices.append(f"{scan.name} looks like a label map: {chosen} interpolation makes values that are no labels")
    if chosen in OF_LABELS:
        ids = scan.as_labels()
        notices += ids.notices[len(scan.notices) :]
        scan = ids
    value = value_outside(scan, registered) if outside is None else float(outside)
    if outside is None and value == 0 and not scan.is_label and float(scan.array.min()) < 0:
        notices.append(f"{scan.name} has negative values, and 0 where it ends; for a CT write --outside -1024")
    array = warp_values(scan, transform, grid, chosen, value)
    if scan.is_label:
        notices += _lost(scan, array, chosen)
    return Warped(array, chosen, why, tuple(notices), value)


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
    if warped.array.ndim == 4:
        keep_time(header, scan.header)
    write_scan(path, warped.array, grid, like=replace(scan, array=warped.array, affine=grid.affine, header=header))


def _check_choice(interpolation: str) -> None:
    if interpolation not in CHOICES:
        raise DataError(f"interpolation must be one of {', '.join(CHOICES)}, got {interpolation!r}; choose one")


def value_outside(scan: Scan, registered: float | None = None) -> float:
    """The value where a scan has none, from what it is."""
    if scan.is_label:
        return 0.0
    if scan.missing is not None:
        return float("nan")
    low = float(scan.array.min())
    if registered is not None and registered < 0 and low <= registered:
        return registered
    return min(CT_AIR, low) if guess_modality(scan.array) == "ct" else 0.0


def warp_values(scan: Scan, transform: Any, grid: Grid, interpolation: str, outside: float) -> NDArray[Any]:
    """What :func:`warp_scan` computes once all is decided.

    Args:
        scan: as there.
        transform: as there.
        grid: of the result.
        interpolation: anything but ``auto``.
        outside: value where the scan has none.

    Returns:
        ``(X, Y, Z)`` or ``(X, Y, Z, T)``.

    Raises:
        DataError: the type of the scan cannot hold the value outside.
    """
    keep = interpolation in OF_LABELS
    source = scan.array
    if keep and source.dtype.kind in "iu" and not float(outside) == float(np.float64(outside).astype(source.dtype)):
        raise DataError(f"outside must be a value of {scan.name}'s type {source.dtype}, got {outside:g}; correct it")
    if scan.is_label and source.dtype.kind == "f" and np.isfinite(outside) and outside == round(outside):
        source = source.astype(np.int64)  # exact beyond 2^24 too
    volumes = source if source.ndim == 4 else source[..., None]
    missing = scan.missing if scan.missing is None or source.ndim == 4 else scan.missing[..., None]
    result = np.empty((*grid.size, volumes.shape[3]), dtype=scan.array.dtype if keep else np.float32)
    for number in range(volumes.shape[3]):
        volume = volumes[..., number]
        if interpolation == "points":
            result[..., number] = carry_centres(volume, scan.affine, transform, grid, outside)
        elif missing is None or not missing[..., number].any():
            result[..., number] = resample(volume, scan.affine, transform, grid, interpolation, outside)
        else:
            result[..., number] = _masked(
                volume, ~missing[..., number], scan.affine, transform, grid, interpolation, outside
            )
    return result if source.ndim == 4 else result[..., 0]


def _masked(
    volume: NDArray[Any],
    known: NDArray[np.bool_],
    affine: NDArray[Any],
    transform: Any,
    grid: Grid,
    interpolation: str,
    outside: float,
) -> NDArray[Any]:
    """Interpolate the voxels that have a value, and leave the others out of every weighted mean."""
    weights = resample(known.astype(np.float32), affine, transform, grid, interpolation, 0.0)
    values = resample(np.where(known, volume, 0), affine, transform, grid, interpolation, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        found: NDArray[Any] = np.where(weights > KNOWN, values / weights, np.float64(outside))
    return found


def _lost(scan: Scan, warped: NDArray[Any], interpolation: str) -> list[str]:
    """A notice with every label of a scan that the result does not have."""
    lost = np.setdiff1d(np.unique(scan.array), np.unique(warped))
    lost = lost[lost != 0]
    if not len(lost):
        return []
    names = ", ".join(f"{label:g}" if abs(label) < 1e6 else str(int(label)) for label in lost.tolist())
    cure = (
        "their centres lie outside of the grid, or in the voxel of another"
        if interpolation == "points"
        else "smaller than its voxels, or outside of it; --interpolation points carries the centre of each label"
    )
    return [f"{scan.name} loses {len(lost)} of its labels on the grid: {names}; {cure}"]
