"""Motion correction: every volume of a series brought to their mean, in one interpolation from the original."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphseek_monai.base.errors import DataError, require_whole
from morphseek_monai.base.files import alone, removed
from morphseek_monai.base.records import write_csv, write_json
from morphseek_monai.data.scans.scan import write_scan
from morphseek_monai.spatial.files.transform_file import write_transform
from morphseek_monai.spatial.point_map import PointMap

from ..options import RegisterOptions
from .deform import deform
from .motion import motion_record, motion_rows
from .rigid_search import RigidSearch
from .volumes import Series

__all__ = ["align_series"]

LOG = logging.getLogger("morphseek")

TRANSFORMS = ("rigid", "deformable")
FILES = ("series.json", "corrected.nii.gz", "mean.nii.gz", "motion.csv")
Maps = dict[int, PointMap]


def align_series(
    series: Any,
    out: str | os.PathLike[str],
    transform: str = "rigid",
    reference: int | None = None,
    interpolation: str = "bspline",
    seed: int = 0,
    options: RegisterOptions | None = None,
) -> dict[str, Any]:
    """Bring every volume of a series to their mean.

    Twice: first rigidly to one volume, then to the mean of what came out, from the maps found before. With
    ``deformable`` a registration of each volume to the mean follows, from its rigid map. The result is interpolated
    once, from the original volumes. A volume that is NaN where others are not, or of one value, is told of, left out of
    the mean and copied as it is.

    Writes ``corrected.nii.gz`` (float32, on the grid and with the time step of the series), ``mean.nii.gz``,
    ``motion.csv`` (a line per volume), ``transforms/volume_0000.tfm`` and so on (``.h5`` of deformable ones; points of
    the mean -> points of the volume, for ITK) and, last, ``series.json``.

    Args:
        series: a 4-D image, as for :func:`~morphseek_monai.data.scans.scan.read_series`.
        out: folder for the results.
        transform: ``"rigid"`` or ``"deformable"``.
        reference: volume of the first pass, from 0; None takes that which is most like the plain mean.
        interpolation: ``"bspline"`` (cubic), ``"linear"``, which blurs each volume by another amount, or ``"sinc"``.
        seed: of the points where volumes are compared.
        options: of the registrations of ``deformable``. None leaves the network out: volumes of one person are near
            each other.

    Returns:
        the content of ``series.json``.

    Raises:
        DataError: no series, fewer than two usable volumes, an option that is not what it should be, or a folder that
            cannot be written.
    """
    if transform not in TRANSFORMS:
        raise DataError(f"align-series: --transform must be rigid or deformable, got {transform!r}; correct it")
    require_whole("align-series: --seed", seed)
    options = options or RegisterOptions(steps=0)
    folder = Path(os.path.abspath(out))  # libraries change the working folder
    volumes = Series(series, interpolation)
    if reference is not None:
        require_whole("align-series: --reference", reference, 0, most=len(volumes) - 1)
        if reference in volumes.faults:
            raise DataError(f"align-series: volume {reference} {volumes.faults[reference]}; choose another --reference")
    faults = dict(volumes.faults)
    for number, fault in faults.items():
        LOG.info("notice: volume %d %s: left out of the mean, copied as it is", number, fault)
    first = most_typical(volumes) if reference is None else reference
    with alone(folder), removed(folder / name for name in FILES):
        shutil.rmtree(folder / "transforms", ignore_errors=True)
        matrices, correlations = _rigid_passes(volumes, first, seed)
        maps: Maps = {number: PointMap((matrix,)) for number, matrix in matrices.items()}
        if transform == "deformable":
            mean = _mean(volumes, maps)
            for number in volumes.good:
                found, doubt = deform(volumes, number, mean, matrices[number], options)
                maps[number] = found or maps[number]
                if doubt:
                    LOG.info("notice: volume %d: %s", number, doubt)
                    faults[number] = doubt
        _write_images(folder, volumes, maps)
        for number in range(len(volumes)):
            points = maps.get(number, PointMap((np.eye(4),)))
            ending = "tfm" if len(points.maps) == 1 else "h5"
            write_transform(folder / f"transforms/volume_{number:04d}.{ending}", points)
        rows = motion_rows(len(volumes), matrices, volumes.grid.centre, correlations, faults)
        write_csv(folder / "motion.csv", rows)
        record = {
            "series": volumes.scan.name, "transform": transform, "reference": first, "interpolation": interpolation,
            "seed": seed, "outside": volumes.outside, **motion_record(rows, volumes.grid.centre),
            "notices": list(volumes.scan.notices), "options": options.record() if transform == "deformable" else {},
        }  # fmt: skip
        write_json(folder / "series.json", record)
    return record


def most_typical(volumes: Series) -> int:
    """The usable volume that correlates best with the plain mean of all: no outlier of motion or of signal."""
    total = np.zeros(volumes.grid.size)
    for number in volumes.good:
        total += volumes.volume(number)
    mean = total.ravel()
    return max(volumes.good, key=lambda number: float(np.corrcoef(mean, volumes.volume(number).ravel())[0, 1]))


def _rigid_passes(volumes: Series, first: int, seed: int) -> tuple[dict[int, NDArray[Any]], dict[int, float]]:
    """Maps from the mean to each volume, and the correlations there."""
    matrices = {number: np.eye(4) for number in volumes.good}
    correlations: dict[int, float] = {}
    target = volumes.volume(first)
    for title in ("to one volume", "to the mean"):
        search = RigidSearch(target, volumes.grid, volumes.mask, seed)
        before = np.eye(4)
        for number in volumes.good:
            starts = [np.eye(4), matrices[number], before]
            matrices[number], correlations[number] = search.find(volumes.volume(number), starts)
            before = matrices[number]
        mean = np.mean(list(correlations.values()))
        LOG.info("%d volumes aligned %s: correlation %.4f", len(volumes.good), title, mean)
        target = _mean(volumes, {number: PointMap((matrix,)) for number, matrix in matrices.items()})
    return matrices, correlations


def _mean(volumes: Series, maps: Maps, each: Callable[[int, NDArray[Any]], None] | None = None) -> NDArray[Any]:
    """Mean of the usable volumes ``(X, Y, Z)`` float32, of those that have a value; ``each`` gets them, warped."""
    total, known = np.zeros(volumes.grid.size), np.zeros(volumes.grid.size, np.int32)
    for number in volumes.good:
        warped = volumes.warped(number, maps[number])
        if each is not None:
            each(number, warped)
        there = ~np.isnan(warped)
        total[there] += warped[there]
        known += there
    low = float(volumes.scan.array.min()) if np.isnan(volumes.outside) else volumes.outside
    return np.divide(total, known, out=np.full_like(total, low), where=known > 0).astype(np.float32)


def _write_images(folder: Path, volumes: Series, maps: Maps) -> None:
    corrected = np.empty(volumes.scan.array.shape, np.float32)

    def keep(number: int, warped: NDArray[Any]) -> None:
        corrected[..., number] = np.where(np.isnan(warped), volumes.outside, warped)

    mean = _mean(volumes, maps, keep)
    for number in volumes.faults:
        corrected[..., number] = volumes.original(number)
    write_scan(folder / "corrected.nii.gz", corrected, volumes.grid, volumes.scan)
    write_scan(folder / "mean.nii.gz", mean, volumes.grid, volumes.scan)
