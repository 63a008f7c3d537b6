"""What the commands that use a registration start from: its folder, or a transform file with a grid."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from morphseek_monai.base.errors import DataError
from morphseek_monai.base.files import require_file
from morphseek_monai.data.scans.scan import read_series
from morphseek_monai.space.grid import Grid

from ..spatial.files.transform_file import read_transform

__all__ = ["Registration", "read_grid", "read_registration"]

ROLES = ("fixed", "moving")


class Registration(NamedTuple):
    """A finished registration.

    Attributes:
        folder: that ``morphseek register`` wrote.
        fixed: grid of the fixed image.
        moving: grid of the moving image.
        outside: value of the warped image where the moving one has none.
    """

    folder: Path
    fixed: Grid
    moving: Grid
    outside: float = 0.0

    def grid(self, subject: str) -> Grid:
        """Grid of the ``fixed`` or the ``moving`` image."""
        return self.fixed if subject == "fixed" else self.moving

    def transform_from(self, subject: str) -> Any:
        """The transform that maps **points** of one image to points of the other.

        Args:
            subject: where the points are: ``fixed`` (transform.h5) or ``moving`` (inverse.h5). Resampling goes the
                other way: the transform from ``fixed`` brings images of the moving subject to the fixed grid.

        Raises:
            DataError: the file is missing or cannot be read.
        """
        return read_transform(self.folder / ("transform.h5" if subject == "fixed" else "inverse.h5"))


def read_registration(folder: str | os.PathLike[str]) -> Registration:
    """Read the folder that ``morphseek register`` wrote.

    Args:
        folder: with ``result.json``, ``transform.h5`` and ``inverse.h5``. The images need not be there any more.

    Raises:
        DataError: no such folder, or no ``result.json`` of a registration in it.
    """
    path = Path(folder)
    if not path.is_dir():
        raise DataError(f"registration {path} is no folder; give the one that morphseek register wrote (--out)")
    require_file(path / "result.json", "result")
    try:
        content = json.loads((path / "result.json").read_text(encoding="utf-8"))
        fixed, moving = (_grid(content[role]) for role in ROLES)
        outside = float(content.get("outside", 0.0))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path / 'result.json'} does not tell the grids of the two images ({error!r:.80}); register again"
        ) from error
    return Registration(path, fixed, moving, outside)


def read_grid(path: str | os.PathLike[str], role: str = "grid") -> Grid:
    """The grid of an image file.

    Args:
        path: of an image, 3-D or a series.
        role: what it is, for the message.

    Raises:
        DataError: it cannot be read, or is flat.
    """
    grid = read_series(path, role).grid
    if min(grid.size) < 2:
        raise DataError(f"{role} {path} must have at least 2 voxels per axis, got {grid.size}; give a volume")
    return grid


def _grid(entry: Any) -> Grid:
    size = [int(n) for n in entry["size"]]
    affine = np.array(entry["affine"], dtype=np.float64)
    if len(size) != 3 or affine.shape != (4, 4):
        raise ValueError(f"size {size}, affine {affine.shape}")
    return Grid.from_size(size, affine)
