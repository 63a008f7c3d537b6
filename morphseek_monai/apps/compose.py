"""``morphseek compose``: several transforms as one file, for one interpolation."""

from __future__ import annotations

from collections.abc import Sequence

from ..base.errors import DataError
from ..base.files import require_scan
from ..base.option_text import PathText, TransformText

__all__ = ["compose"]


def compose(transforms: TransformText | Sequence[TransformText], out: PathText, grid: PathText | None = None) -> str:
    """Chain transforms; the first acts first on a point.

    With A.h5,B.h5 a point x goes to B(A(x)): A maps points of a first image to a second, B points of the second to a
    third, and the result brings images of the third to the first image's grid in one interpolation.

    Args:
        transforms: transform files of any programs, A.h5,B.h5,...
        out: transform file to write, .h5: one composite of all members.
        grid: the first image; the result is then one displacement field on its grid.

    Returns:
        the members in the order in which they act.
    """
    files = transforms.split(",") if isinstance(transforms, str) else list(transforms)
    if not files or not all(isinstance(file, str) and file for file in files):
        raise DataError(f"compose: --transforms must be files A.h5,B.h5, got {transforms!r}")
    if grid is not None:
        require_scan(str(grid), "grid")
    from ..registration.folder import read_grid
    from ..spatial.compose import compose_transforms
    from ..spatial.files.transform_file import read_transform, write_transform
    from ..spatial.transform import members

    where = None if grid is None else read_grid(str(grid))
    result = compose_transforms([read_transform(file) for file in files], where)
    write_transform(str(out), result)
    acting = [member.GetNameOfClass() for member in reversed(members(result))]
    return f"{out}: {' of '.join(reversed(files))}; in the order they act: {', '.join(acting)}"
