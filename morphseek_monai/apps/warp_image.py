"""``morphseek warp-image``: bring an image, a label map or a series to the other subject."""

from __future__ import annotations

from ..base.errors import DataError
from ..base.files import require_scan
from ..base.option_text import PathText, TransformText

__all__ = ["warp_image"]


def warp_image(
    image: PathText,
    out: PathText,
    registration: PathText | None = None,
    to: str | None = None,
    transform: TransformText | None = None,
    grid: PathText | None = None,
    interpolation: str = "auto",
    outside: float | None = None,
) -> str:
    """Warp an image with a finished registration, in one interpolation from its native grid.

    Args:
        image: an image or label map of the moving subject (with --to moving: of the fixed subject), on any grid of that
            scan; every volume of a 4-D series is moved alike.
        out: file to write.
        registration: folder that morphseek register wrote.
        to: fixed (default) brings an image of the moving subject to the fixed image's grid; moving brings an image of
            the fixed subject to the moving image's grid.
        transform: instead of a registration, a transform file of any program (see docs/transforms.md) that maps points
            of GRID to points of IMAGE, and so brings IMAGE to GRID.
        grid: image whose grid the result has; needed with --transform, otherwise that of the registered image.
        interpolation: auto (nearest for label maps, else linear), linear, nearest, bspline, sinc, or points, which
            carries the centre of each label, for marks smaller than a voxel.
        outside: value where the image has none; by default 0, NaN for images with NaN, and air for CTs.

    Returns:
        what was done.
    """
    if outside is not None and (isinstance(outside, bool) or not isinstance(outside, int | float)):
        raise DataError(f"warp-image: --outside must be a number, got {outside!r}")
    if (registration is None) == (transform is None):
        raise DataError("warp-image: give either --registration DIR or --transform FILE --grid REFERENCE")
    require_scan(str(image), "image")
    from ..registration.folder import ROLES, read_grid, read_registration
    from ..spatial.apply import read_source, warp_scan, write_warped
    from ..spatial.coverage import uncovered
    from ..spatial.files.transform_file import read_transform

    air, told = None, list[str]()
    if registration is not None:
        target = "fixed" if to is None else to
        if target not in ROLES:
            raise DataError(f"warp-image: --to must be fixed or moving, got {to!r}")
        result = read_registration(str(registration))
        chosen = result.transform_from(target)
        where = result.grid(target) if grid is None else read_grid(str(grid))
        air = result.outside if target == "fixed" else None
        place = f"the {target} image's grid" if grid is None else f"the grid of {grid}"
    else:
        if to is not None or grid is None:
            raise DataError(
                "warp-image: --transform FILE needs --grid REFERENCE and no --to; the file maps points of the reference"
                " to points of the image"
            )
        where, place = read_grid(str(grid)), f"the grid of {grid}"
    scan = read_source(str(image), str(interpolation))
    if transform is not None:
        chosen = read_transform(str(transform), where, scan.grid)
        if missing := uncovered(chosen, where):
            told.append(f"the field of {transform} does not cover {100 * missing:.3g} % of {grid}; it is zero there")
    warped = warp_scan(scan, chosen, where, str(interpolation), outside, air)
    write_warped(str(out), warped, where, scan)
    size = " x ".join(map(str, warped.array.shape))
    why = f" ({warped.why})" if warped.why else ""
    lines = [f"{out}: {size}, {warped.interpolation} interpolation{why}, on {place}"]
    return "\n".join([*lines, *(f"notice: {notice}" for notice in (*told, *scan.notices, *warped.notices))])
