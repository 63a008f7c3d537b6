"""``morphseek invert``: the transform the other way, and how exact it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..base.files import require_scan
from ..base.option_text import PathText, TransformText

if TYPE_CHECKING:
    from ..spatial.invert import InverseError

__all__ = ["describe_error", "invert"]

_LARGE = 1.0  # mm; about a voxel of a brain scan


def invert(transform: TransformText, grid: PathText, out: PathText) -> str:
    """Invert a transform: linear parts exactly, displacement fields by iteration.

    Args:
        transform: transform file of any program that maps points of the fixed image to points of the moving image.
        grid: the fixed image, in which the error is measured.
        out: transform file to write, .h5; it maps points of the moving image to points of the fixed image.

    Returns:
        the inverse consistency error in mm.
    """
    require_scan(str(grid), "grid")
    from ..registration.folder import read_grid
    from ..spatial.files.transform_file import read_transform, write_transform
    from ..spatial.invert import invert_transform

    where = read_grid(str(grid))
    result = invert_transform(read_transform(str(transform), where), where)
    write_transform(str(out), result.transform)
    lines = [f"{out}: inverse of {transform}", *describe_error(result.error)]
    return "\n".join(lines)


def describe_error(error: InverseError) -> list[str]:
    """Say in one line how exact an inverse is, and in a second when it is not."""
    if not error.points:
        return ["notice: the transform carries every point off its grid; nothing is known of the inverse"]
    lines = [
        f"there and back: {error.mean:.3g} mm off on average, at most {error.p95:.3g} mm for 95 % and"
        f" {error.maximum:.3g} mm for all of {error.points} points"
    ]
    if error.p95 > _LARGE:
        lines.append(
            f"notice: the inverse misses by more than {_LARGE:g} mm in places; a transform that folds has none there,"
            " see morphseek jacobian"
        )
    return lines
