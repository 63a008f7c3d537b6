"""What every format of transform files has in common."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
import torch
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray

from morphseek_monai.base.errors import DataError
from morphseek_monai.fields import ddf_to_world, world_to_ddf
from morphseek_monai.space.grid import Grid
from morphseek_monai.spatial.point_map import Field, PointMap

__all__ = [
    "Format",
    "Source",
    "Target",
    "displacements_of",
    "field_of_displacements",
    "field_of_places",
    "finite",
    "linear_part",
    "looks_absolute",
    "optional",
    "positions",
    "vectors",
]

_HEAD = 4096  # bytes that tell a format
_TO_RAS = np.array([-1.0, -1.0, 1.0])


class Source:
    """A file that is to be read, and what is known beside it.

    Attributes:
        path: the file.
        fixed: grid of the image whose points are mapped; None where it is not known.
        moving: grid of the image that they are mapped to; None where it is not known.
        head: the file's first bytes.
    """

    def __init__(self, path: Path, fixed: Grid | None = None, moving: Grid | None = None) -> None:
        self.path = path
        self.fixed = fixed
        self.moving = moving
        with open(path, "rb") as file:
            self.head = file.read(_HEAD)

    @property
    def name(self) -> str:
        """The file's name, in small letters."""
        return self.path.name.lower()

    @cached_property
    def text(self) -> str | None:
        """The content, where it is text."""
        if b"\0" in self.head or self.head.startswith(b"\x1f\x8b"):
            return None
        try:
            return self.path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            return None

    @cached_property
    def nifti(self) -> Any:
        """A NiBabel image, whose voxels are not yet read; None where the file is no NIfTI."""
        if not self.name.endswith((".nii", ".nii.gz", ".hdr", ".img")):
            return None
        try:
            image: Any = nib.load(self.path)
        except (ImageFileError, OSError, ValueError, EOFError):
            return None
        return image if isinstance(image, nib.Nifti1Pair) else None

    @property
    def vectors(self) -> bool:
        """Whether it is a NIfTI image of vectors with three components, ``(X, Y, Z, 3)`` or ``(X, Y, Z, 1, 3)``."""
        return self.nifti is not None and self.nifti.shape[3:] in ((3,), (1, 3))

    @property
    def grid(self) -> Grid:
        """Of the NIfTI image."""
        return Grid.from_size(self.nifti.shape[:3], self.nifti.affine)

    def both(self, what: str) -> tuple[Grid, Grid]:
        """The grids of both images.

        Raises:
            DataError: one is not known.
        """
        if self.fixed is None or self.moving is None:
            raise DataError(
                f"transform {self.path} is {what}, which counts from the corners of the two images; convert it with"
                " them: morphseek convert-transform IN OUT --fixed FIXED --moving MOVING"
            )
        return self.fixed, self.moving


class Target(NamedTuple):
    """A transform that is to be written.

    Attributes:
        path: the file.
        point_map: the transform; None where it has members that only ITK knows.
        transform: the same as an ITK transform or a :class:`PointMap`.
        fixed: grid of the image whose points are mapped.
        moving: grid of the image that they are mapped to.
    """

    path: Path
    point_map: PointMap | None
    transform: Any
    fixed: Grid | None
    moving: Grid | None

    def both(self, what: str) -> tuple[Grid, Grid]:
        """The grids of both images.

        Raises:
            DataError: one is not known.
        """
        if self.fixed is None or self.moving is None:
            raise DataError(f"transform {self.path}: {what} needs both images; give --fixed FIXED and --moving MOVING")
        return self.fixed, self.moving


class Format(NamedTuple):
    """A format of transform files.

    Attributes:
        name: as users write it, ``name:path`` or ``--to name``.
        recognises: whether a file is one, by its content and not by its name alone.
        read: the file as points of the fixed image -> points of the moving image: a :class:`PointMap`, or an ITK
            transform.
        write: what was written; None for a format that is only read.
    """

    name: str
    recognises: Callable[[Source], bool]
    read: Callable[[Source], Any]
    write: Callable[[Target], list[Path]] | None = None


def optional(module: str, package: str, path: Path) -> Any:
    """A module of an optional dependency.

    Args:
        module: its name.
        package: what is to be installed.
        path: the file that needs it.

    Raises:
        DataError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise DataError(
            f"transform {path} needs the package {package}; pip install 'morphseek_monai[transforms]'"
        ) from error


def vectors(source: Source) -> NDArray[np.float64]:
    """The vectors of a NIfTI image, ``(X, Y, Z, 3)``.

    Raises:
        DataError: some are not finite, or the file ends early.
    """
    try:
        values = np.asarray(source.nifti.dataobj, dtype=np.float64)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"transform {source.path} cannot be read ({error}); copy it again") from error
    return finite(values.reshape(*values.shape[:3], 3), source.path)


def finite(values: NDArray[np.float64], path: Path) -> NDArray[np.float64]:
    """The same vectors ``(X, Y, Z, 3)``.

    Raises:
        DataError: some are not finite.
    """
    lost = int((~np.isfinite(values)).any(axis=-1).sum())
    if lost:
        raise DataError(
            f"transform {path} must hold finite numbers, got NaN or infinity in {lost} of {values[..., 0].size} voxels;"
            " crop it to where the transform is known"
        )
    return values


def positions(grid: Grid) -> NDArray[np.float64]:
    """Places of a grid's voxels, ``(X, Y, Z, 3)`` RAS mm."""
    voxels = np.moveaxis(np.indices(grid.size, dtype=np.float64), 0, -1)
    places: NDArray[np.float64] = voxels @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    return places


def field_of_displacements(displacements: NDArray[Any], grid: Grid) -> Field:
    """A displacement field in RAS mm, ``(X, Y, Z, 3)``, as this package has it."""
    world = torch.from_numpy(np.ascontiguousarray(np.moveaxis(displacements * _TO_RAS, -1, 0), dtype=np.float64))
    return Field(world_to_ddf(world[None], grid.affine).float().contiguous(), grid)


def field_of_places(places: NDArray[Any], grid: Grid) -> Field:
    """A map ``(X, Y, Z, 3)`` of places in RAS mm as a displacement field."""
    return field_of_displacements(places - positions(grid), grid)


def displacements_of(field: Field) -> NDArray[np.float64]:
    """The reverse of :func:`field_of_displacements`."""
    world = ddf_to_world(field.ddf.detach().cpu().double(), field.grid.affine)[0].numpy()
    displacements: NDArray[np.float64] = np.moveaxis(world, 0, -1) * _TO_RAS
    return displacements


def looks_absolute(values: NDArray[np.float64], grid: Grid) -> bool:
    """Whether vectors ``(X, Y, Z, 3)`` in RAS mm are places rather than displacements: places vary with the grid."""
    spread = values.std(axis=(0, 1, 2)).sum()
    return bool(spread > (values - positions(grid)).std(axis=(0, 1, 2)).sum())


def linear_part(chain: PointMap) -> NDArray[np.float64] | None:
    """All maps as one matrix ``(4, 4)``; None where one of them is a field."""
    matrix: NDArray[np.float64] = np.eye(4)
    for one in chain.maps:
        if isinstance(one, Field):
            return None
        matrix = one @ matrix
    return matrix
