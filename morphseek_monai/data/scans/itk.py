"""Scans in the files that ITK reads: NRRD, MetaImage, DICOM and others."""

from __future__ import annotations

import errno
import locale
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphseek_monai.base.errors import DataError
from morphseek_monai.base.files import atomic_output, reserve, unreadable
from morphseek_monai.base.lazy import lazy_module
from morphseek_monai.space.itk_image import from_itk, itk_affine, to_itk

from .request import Loaded, Request, no_number

itk = lazy_module("itk")

__all__ = ["component_type", "image_io", "itk_errors", "load_itk_file", "reason", "write_itk_file"]

HEADER = 2**16  # bytes, at most, beside the voxels

# component -> pixel type to read it as (ITK's Python package has not all), type of the array
COMPONENTS: dict[str, tuple[str, type[np.generic]]] = {
    "char": ("SS", np.int8),
    "unsigned_char": ("UC", np.uint8),
    "short": ("SS", np.int16),
    "unsigned_short": ("US", np.uint16),
    "int": ("SI", np.int32),
    "unsigned_int": ("UI", np.uint32),
    "long": ("D", np.int64),
    "long_long": ("D", np.int64),
    "unsigned_long": ("ULL", np.uint64),
    "unsigned_long_long": ("ULL", np.uint64),
    "float": ("F", np.float32),
    "double": ("D", np.float64),
}


def load_itk_file(path: str, request: Request) -> Loaded:
    """Read one file through ITK.

    Args:
        path: an existing file.
        request: which volume of it.

    Raises:
        DataError: ITK does not read it, it is damaged, or has several numbers per voxel.
    """
    with itk_errors(path, request.who):
        io = image_io(path)
    sizes = tuple(int(io.GetDimensions(axis)) for axis in range(io.GetNumberOfDimensions()))
    if io.GetNumberOfComponents() != 1:
        raise no_number(request.who, f"RGB or vectors ({io.GetNumberOfComponents()} numbers per voxel)")
    if io.GetNameOfClass() == "GDCMImageIO" and len(sizes) > 2 and sizes[2] > 1:
        from .multiframe import load_multiframe  # pydicom is an extra

        loaded = load_multiframe(path, request)
        if loaded is not None:
            return loaded
    index = request.select(sizes)
    with itk_errors(path, request.who):
        pixel, dtype = component_type(io)
        reader = itk.ImageFileReader[itk.Image[pixel, len(sizes)]].New(FileName=path)
        reader.SetImageIO(io)
        reader.Update()
        image = reader.GetOutput()
        return Loaded(from_itk(image)[index].astype(dtype, copy=False), itk_affine(image))


def write_itk_file(path: str | os.PathLike[str], array: NDArray[Any], affine: NDArray[Any]) -> None:
    """Write a file through ITK, compressed, whole or not at all.

    Args:
        path: its ending says the format.
        array: ``(X, Y, Z)`` or ``(X, Y, Z, T)``.
        affine: ``(4, 4)`` voxel -> RAS mm.

    Raises:
        DataError: the file cannot be written.
    """
    image = to_itk(array, affine)
    with atomic_output(path) as temporary:
        reserve(temporary, array.nbytes + HEADER)
        try:
            itk.imwrite(image, os.fspath(temporary), compression=True)
        except RuntimeError as error:
            raise OSError(errno.EIO, reason(error)) from error


def image_io(path: str) -> Any:
    """The ImageIO of ITK that knows a file, with the file's header read.

    Raises:
        RuntimeError: there is none.
    """
    io = itk.ImageIOFactory.CreateImageIO(path, itk.CommonEnums.IOFileMode_ReadMode)
    if io is None:
        raise RuntimeError("no image format that ITK knows")
    io.SetFileName(path)
    io.ReadImageInformation()
    return io


def component_type(io: Any) -> tuple[Any, type[np.generic]]:
    """Pixel type to read with, type to have in the end."""
    pixel, dtype = COMPONENTS[io.GetComponentTypeAsString(io.GetComponentType())]
    return getattr(itk, pixel), dtype


@contextmanager
def itk_errors(path: str, who: str) -> Iterator[None]:
    """ITK's errors in one line, its warnings not at all, and the locale as it was.

    Args:
        path: the file, looked at for a plain reason.
        who: role and name, for the message.

    Raises:
        DataError: anything went wrong.
    """
    shown = itk.Object.GetGlobalWarningDisplay()
    spoken = locale.setlocale(locale.LC_ALL)
    itk.Object.SetGlobalWarningDisplay(False)
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # SWIG raises RuntimeError, or TypeError and KeyError for types that are not wrapped
        found = unreadable(path) if os.path.isfile(path) else None
        found = found or (
            f"cannot be read ({reason(error)});"
            " copy it again, or give NIfTI, NRRD, MetaImage or a folder of DICOM slices"
        )
        raise DataError(f"{who} {found}") from error
    finally:
        itk.Object.SetGlobalWarningDisplay(shown)
        if locale.setlocale(locale.LC_ALL) != spoken:  # its VTK reader sets C, and Python would take ASCII for files
            locale.setlocale(locale.LC_ALL, spoken)


def reason(error: Exception) -> str:
    """The line of an ITK error that says what happened."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__
