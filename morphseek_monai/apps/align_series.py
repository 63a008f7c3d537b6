"""``morphseek align-series``: motion correction of a 4-D image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..base.errors import DataError
from ..base.files import require_scan
from ..base.option_text import PathText
from ..base.progress import progress
from ..base.terminable import terminable
from .register import check_options, require_writable

__all__ = ["align_series"]

_OWN = ("affine", "frame", "fixed_frame", "moving_frame", "report", "transforms")  # decided here


def align_series(
    series: PathText,
    out: PathText,
    transform: str = "rigid",
    reference: int | None = None,
    interpolation: str = "bspline",
    seed: int = 0,
    **options: Any,
) -> str:
    """Bring every volume of a series to their mean, in one interpolation, and tell how the head moved.

    Writes corrected.nii.gz, mean.nii.gz, motion.csv (shifts in mm, turns in degrees, framewise displacement),
    transforms/ (for ITK, a file per volume) and series.json into OUT. A volume with NaN, or of one value, is told of,
    left out of the mean and copied.

    Args:
        series: 4-D image.
        out: folder for the results.
        transform: rigid, or deformable: a registration of each volume to the mean follows, some ten seconds each.
        reference: volume of the first pass, from 0; by default the one that is most like the mean.
        interpolation: bspline, linear or sinc.
        seed: same seed, same result.
        options: those of morphseek register, for deformable; the network is left out unless --steps asks for it.

    Returns:
        how far the head moved, and what to look at.
    """
    if not str(out):  # --out=$EMPTY
        raise DataError(f"align-series: --out must be a folder, got {out!r}; name one")
    require_scan(str(series), "series")
    from ..registration.options import make_options

    wrong = sorted(set(options) & set(_OWN)) if transform == "deformable" else sorted(options)
    if wrong:
        raise DataError(f"align-series: --{wrong[0]} is no option of --transform {transform}; leave it out")
    chosen = make_options({"steps": 0, "seed": seed, **options}, "align-series")
    check_options(chosen)
    folder = Path(str(out))
    require_writable(folder)
    from ..registration.series.align_series import align_series as align_volumes
    from ..registration.series.motion import MOVED

    with progress(), terminable():
        record = align_volumes(str(series), folder, transform, reference, interpolation, seed, chosen)
    lines = [f"notice: {notice}" for notice in record["notices"]]
    lines.append(
        f"{record['volumes']} volumes, {len(record['unusable'])} of them unusable; framewise displacement"
        f" {record['fd_mean_mm']:.3f} mm on average, {record['fd_max_mm']:.3f} mm at most, above"
        f" {MOVED:g} mm in {len(record[f'fd_above_{MOVED:g}_mm'])}; correlation with the mean"
        f" {record['correlation']:.4f}; see {folder}"
    )
    return "\n".join(lines)
