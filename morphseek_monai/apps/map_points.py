"""``morphseek map-points``: where landmarks of one image lie in the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..base.errors import DataError
from ..base.option_text import PathText, TransformText

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..space.grid import Grid

__all__ = ["map_points"]


def map_points(
    points: PathText,
    to: str | None = None,
    registration: PathText | None = None,
    out: PathText | None = None,
    transform: TransformText | None = None,
    space: str | None = None,
    **source: Any,
) -> str:
    """Map points in mm from one image to the other; write --from fixed --to moving, or --from moving --to fixed.

    Args:
        points: CSV with columns x,y,z (others are kept), or .fcsv of 3D Slicer.
        to: the image in which the points are wanted, fixed or moving.
        registration: folder that morphseek register wrote.
        out: CSV to write: the same lines in the same order and space.
        transform: instead of a registration, a transform file of any program: points go the way of its points, which is
            from the fixed to the moving image where it brings the moving image to the fixed one. Without --from, --to.
        space: RAS (NiBabel) or LPS (ITK, ANTs); must be given unless the file tells.
        source: from, the image in which the points were set, fixed or moving.

    Returns:
        what was done.
    """
    if (registration is None) == (transform is None):
        raise DataError("map-points: give either --registration DIR with --from and --to, or --transform FILE")
    if out is None:
        raise DataError("map-points: give --out, the table to write")
    if transform is not None:
        return _by_file(str(points), str(transform), str(out), space, {"to": to, **source})
    if set(source) != {"from"}:
        unknown = ", ".join(f"--{name}" for name in sorted(set(source) - {"from"}))
        raise DataError(
            f"map-points: unknown option {unknown}; correct its spelling" if unknown
            else "map-points: give --from fixed --to moving or --from moving --to fixed"
        )
    from ..registration.folder import ROLES, read_registration
    from ..spatial import transform as transforms
    from ..spatial.point_table import read_points, write_points

    image = source["from"]
    if image not in ROLES or to not in ROLES or image == to:
        raise DataError(
            f"map-points: --from and --to must be fixed and moving, one each, got --from {image} --to {to};"
            " they name the images, not the files"
        )
    result = read_registration(str(registration))
    table = read_points(str(points), space)
    notices = _places(table.points, result.grid(image), f"the {image} image")
    mapped = transforms.map_points(result.transform_from(image), table.points)
    notices += _places(mapped, result.grid(to), f"the {to} image, where they were mapped to")
    write_points(str(out), table, mapped)
    line = f"{out}: {len(mapped)} points, {image} -> {to} image, {table.space} mm{_moved(mapped - table.points)}"
    return "\n".join([line, *(f"notice: {notice}" for notice in notices)])


def _by_file(points: str, transform: str, out: str, space: str | None, rest: dict[str, Any]) -> str:
    given = [f"--{name}" for name, value in rest.items() if value is not None]
    if given:
        raise DataError(
            f"map-points: --transform takes no {given[0]}, a file has one direction; invert it first: morphseek invert"
        )
    from ..spatial import transform as transforms
    from ..spatial.files.transform_file import read_transform
    from ..spatial.point_table import read_points, write_points

    table = read_points(points, space)
    mapped = transforms.map_points(read_transform(transform), table.points)
    write_points(out, table, mapped)
    return f"{out}: {len(mapped)} points by {transform}, {table.space} mm{_moved(mapped - table.points)}"


def _moved(by: NDArray[np.float64]) -> str:
    """How far points went, for the line that is printed."""
    lengths = (by**2).sum(axis=1) ** 0.5
    return f", moved by {lengths.mean():.2f} mm on average, {lengths.max():.2f} mm at most" if len(lengths) else ""


def _places(points: NDArray[np.float64], grid: Grid, image: str) -> list[str]:
    """A notice about points that lie outside an image."""
    outside = ~grid.contains(points)
    if not outside.any():
        return []
    if outside.all():
        return [f"all {len(points)} points lie outside {image}: are they in mm, and is the space right?"]
    return [f"{outside.sum()} of {len(points)} points lie outside {image}, where only the affine part is known"]
