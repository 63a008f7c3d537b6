"""``morphseek map-points``: where landmarks of one image lie in the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..base.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..space.grid import Grid

__all__ = ["map_points"]


def map_points(points: str, to: str, registration: str, out: str, space: str | None = None, **source: Any) -> str:
    """Map points in mm from one image to the other; write --from fixed --to moving, or --from moving --to fixed.

    Args:
        points: CSV with columns x,y,z (others are kept), or .fcsv of 3D Slicer.
        to: the image in which the points are wanted, fixed or moving.
        registration: folder that morphseek register wrote.
        out: CSV to write: the same lines in the same order and space.
        space: RAS (NiBabel) or LPS (ITK, ANTs); must be given unless the file tells.
        source: from, the image in which the points were set, fixed or moving.

    Returns:
        what was done.
    """
    if set(source) != {"from"}:
        unknown = ", ".join(f"--{name}" for name in sorted(set(source) - {"from"}))
        raise DataError(
            f"map-points: unknown option {unknown}; correct its spelling" if unknown
            else "map-points: give --from fixed --to moving or --from moving --to fixed"
        )
    import numpy as np

    from ..registration.folder import SUBJECTS, read_registration
    from ..spatial import transform as transforms
    from ..spatial.point_table import read_points, write_points

    start = source["from"]
    if start not in SUBJECTS or to not in SUBJECTS or start == to:
        raise DataError(
            f"map-points: --from and --to must be fixed and moving, one each, got --from {start} --to {to};"
            " they name the images, not the files"
        )
    result = read_registration(str(registration))
    table = read_points(str(points), space)
    notices = _places(table.points, result.grid(start), f"the {start} image")
    mapped = transforms.map_points(result.transform_from(start), table.points)
    notices += _places(mapped, result.grid(to), f"the {to} image, where they were mapped to")
    write_points(str(out), table, mapped)
    moved = np.linalg.norm(mapped - table.points, axis=1)
    line = f"{out}: {len(mapped)} points, {start} -> {to} image, {table.space} mm"
    if len(moved):
        line += f", moved by {moved.mean():.2f} mm on average, {moved.max():.2f} mm at most"
    return "\n".join([line, *(f"notice: {notice}" for notice in notices)])


def _places(points: NDArray[np.float64], grid: Grid, image: str) -> list[str]:
    """A notice about points that lie outside an image."""
    outside = ~grid.contains(points)
    if not outside.any():
        return []
    if outside.all():
        return [f"all {len(points)} points lie outside {image}: are they in mm, and is the space right?"]
    return [f"{outside.sum()} of {len(points)} points lie outside {image}, where only the affine part is known"]
