"""A folder of DICOM slices as one scan."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from morphseek_monai.base.errors import DataError
from morphseek_monai.base.lazy import lazy_module
from morphseek_monai.space.itk_image import from_itk, itk_affine

from .itk import component_type, image_io, itk_errors, load_itk_file
from .request import Loaded, Request, no_number
from .slices import SAME_PLACE, even_slices

itk = lazy_module("itk")

__all__ = ["load_dicom_folder"]

DESCRIPTION = "0008|103e"
MOST_LISTED = 8


class _Slice(NamedTuple):
    origin: NDArray[np.float64]
    normal: NDArray[np.float64]
    components: int
    pixel: Any
    dtype: type[np.generic]


def load_dicom_folder(folder: str, request: Request) -> Loaded:
    """Read the one DICOM series of a folder; a tilted gantry becomes a sheared affine, uneven slices are resampled.

    Args:
        folder: with the slices of one series; folders in it are not searched.
        request: which volume (a series is one) and who it is, for messages.

    Raises:
        DataError: there is no series, more than one, a time series, colour, or a slice that cannot be read.
    """
    who = request.who
    with itk_errors(folder, who):
        names = itk.GDCMSeriesFileNames.New()
        names.SetUseSeriesDetails(False)
        names.SetDirectory(folder)
        series = {uid: list(names.GetFileNames(uid)) for uid in names.GetSeriesUIDs()}
    if not series:
        raise DataError(
            f"{who} is a folder without DICOM images (folders in it are not searched); give a file or the folder of one"
            " DICOM series"
        )
    if len(series) > 1:
        listing = _listing(series, who)
        raise DataError(f"{who} holds {len(series)} DICOM series: {listing}; give each a folder of its own")
    files = next(iter(series.values()))
    if len(files) == 1:  # a slice, or an enhanced object with all of them
        return load_itk_file(files[0], request)
    with itk_errors(folder, who):
        slices = [_header(file) for file in files]
    if any(slice_.components != 1 for slice_ in slices):
        raise no_number(who, "colour images")
    places = np.array([slice_.origin for slice_ in slices]) @ slices[0].normal
    notices = _left_out(folder, files, who)
    if np.diff(np.sort(places)).min() < SAME_PLACE:
        raise DataError(
            f"{who} holds several images of one place (a time series, a slice twice, or files without a position);"
            " give each volume a folder of its own, or convert the series to NIfTI"
        )
    with itk_errors(folder, who):
        # slices may differ: PET has a slope of its own on each
        widest = max(slices, key=lambda slice_: (np.dtype(slice_.dtype).kind == "f", np.dtype(slice_.dtype).itemsize))
        reader = itk.ImageSeriesReader[itk.Image[widest.pixel, 3]].New(FileNames=files)
        reader.SetImageIO(itk.GDCMImageIO.New())
        reader.SetForceOrthogonalDirection(False)
        reader.Update()
        image = reader.GetOutput()
        array = from_itk(image)
        array = array[request.select(array.shape)].astype(widest.dtype, copy=False)
        affine = itk_affine(image)
    array, affine, uneven = even_slices(array, affine, places, who)
    return Loaded(array, affine, notices + uneven)


def _header(file: str) -> _Slice:
    io = image_io(file)
    origin = np.array([io.GetOrigin(axis) for axis in range(3)])
    normal = np.cross(io.GetDirection(0), io.GetDirection(1))
    return _Slice(origin, normal, int(io.GetNumberOfComponents()), *component_type(io))


def _left_out(folder: str, files: list[str], who: str) -> tuple[str, ...]:
    """GDCM passes over a damaged slice without a word."""
    read = {os.path.basename(file) for file in files}
    others = [name for name in sorted(os.listdir(folder)) if name not in read and _is_dicom(os.path.join(folder, name))]
    if not others:
        return ()
    names = ", ".join(others[:MOST_LISTED]) + (", ..." if len(others) > MOST_LISTED else "")
    return (f"{who}: {len(others)} DICOM file(s) were left out, damaged or without an image: {names}",)


def _is_dicom(path: str) -> bool:
    if not os.path.isfile(path) or os.path.basename(path) == "DICOMDIR":
        return False
    with open(path, "rb") as stream:
        stream.seek(128)
        return stream.read(4) == b"DICM"


def _listing(series: dict[str, list[str]], who: str) -> str:
    listed = []
    for uid, files in list(series.items())[:MOST_LISTED]:
        with itk_errors(files[0], who):
            io = image_io(files[0])  # owns the dictionary, which must not outlive it
            header = io.GetMetaDataDictionary()
            text = str(header[DESCRIPTION]).strip() if header.HasKey(DESCRIPTION) else ""
        listed.append(f"{uid} ({text or 'no description'}, {len(files)} files)")
    return ", ".join(listed) + (", ..." if len(series) > MOST_LISTED else "")
