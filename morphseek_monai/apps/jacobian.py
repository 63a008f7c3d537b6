"""``morphseek jacobian``: where a transform shrinks, expands or folds."""

from __future__ import annotations

from ..base.errors import DataError
from ..base.files import require_scan
from ..base.option_text import PathText, TransformText

__all__ = ["jacobian"]


def jacobian(transform: TransformText, grid: PathText, out: PathText, log: bool = False, of: str = "total") -> str:
    """Write the Jacobian determinant of a transform in world coordinates.

    Above 1 the moving image's structure is larger than the fixed image's, below 1 smaller, at 0 or below it folds.

    Args:
        transform: transform file of any program that maps points of GRID, such as transform.h5 of a registration.
        grid: image whose grid the map has, usually the fixed image.
        out: image to write, float32.
        log: True writes the natural logarithm, NaN where the transform folds.
        of: total, or deformable: without the affine part.

    Returns:
        the range and how much folds.
    """
    if of not in ("total", "deformable") or not isinstance(log, bool):
        raise DataError(f"jacobian: --of must be total or deformable and --log True or False, got {of!r} and {log!r}")
    require_scan(str(grid), "grid")
    import numpy as np

    from ..data.scans.scan import write_scan
    from ..registration.folder import read_grid
    from ..spatial.determinant import determinant_map
    from ..spatial.files.transform_file import read_transform

    where = read_grid(str(grid))
    result = determinant_map(read_transform(str(transform), where), where, of)
    values = result.values
    if log:
        values = np.log(values, out=np.full_like(values, np.nan), where=values > 0)
    write_scan(str(out), values, where)
    low, middle, high = np.quantile(result.values, [0.01, 0.5, 0.99])
    share = 100 * result.folded / values.size
    lines = [
        f"{out}: {'log of the ' if log else ''}{of} Jacobian determinant",
        f"determinant: median {middle:.3f}, 98 % of the voxels in {low:.3f} .. {high:.3f}",
        f"folded: {result.folded} of {values.size} voxels ({share:.4g} %){', NaN in the map' if log else ''}",
    ]
    if result.beyond:
        share = 100 * result.beyond
        lines.append(f"notice: the field of {transform} does not cover {share:.3g} % of {grid}; it jumps to zero there")
    return "\n".join(lines)
