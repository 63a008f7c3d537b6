"""DICOM objects with all slices in one file (enhanced multi-frame), read by pydicom, an optional package."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from morphseek_monai.base.errors import DataError
from morphseek_monai.space.itk_image import RAS_TO_LPS

from .request import Loaded, Request, no_number
from .slices import SAME_PLACE, even_slices

__all__ = ["load_multiframe"]

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
TURNED = 1e-4  # cosine
SHIFTED = 0.05  # of a pixel


class _Frames(NamedTuple):
    """Of every frame in the file: position ``(N, 3)`` LPS mm, slope and intercept ``(N,)``, order within one place."""

    positions: NDArray[np.float64]
    slopes: NDArray[np.float64]
    intercepts: NDArray[np.float64]
    order: list[tuple[int, ...]]
    rows: NDArray[np.float64]
    columns: NDArray[np.float64]
    pixel: tuple[float, float]


def load_multiframe(path: str, request: Request) -> Loaded | None:
    """Read an enhanced multi-frame object: each frame at its own place, with its own rescaling.

    Args:
        path: the file.
        request: which volume of it, where several frames lie at one place (times, echoes, b values).

    Returns:
        None for a file without a place for each frame, as an RT dose, which ITK reads.

    Raises:
        DataError: pydicom is not there or cannot read the file, frames are turned or shifted against each other, or
            places have different numbers of frames.
    """
    who = request.who
    try:
        import pydicom
    except ImportError as error:
        raise DataError(
            f"{who} is a multi-frame DICOM file, which needs pydicom; pip install pydicom, or convert it to NIfTI"
        ) from error
    try:
        data = pydicom.dcmread(path)
        if "PerFrameFunctionalGroupsSequence" not in data:
            _require_places(data, who)
            return None
        if data.get("SamplesPerPixel", 1) != 1:
            raise no_number(who, "colour images")
        if data.SOPClassUID == SEGMENTATION:
            raise DataError(f"{who} is a DICOM segmentation; convert it to a NIfTI label map, e.g. by dcmqi")
        frames = _describe(data, who)
        pixels = np.asarray(data.pixel_array)
    except DataError:
        raise
    except Exception as error:  # pydicom's plug-ins for compressed pixels raise of all kinds
        reason = " ".join(str(error).split())
        raise DataError(f"{who} cannot be read ({reason}); copy it again, or convert it to NIfTI") from error
    return _volume(pixels.reshape(-1, *pixels.shape[-2:]), frames, request)


def _require_places(data: Any, who: str) -> None:
    if "GridFrameOffsetVector" not in data and "ImagePositionPatient" not in data:
        raise DataError(f"{who} does not say where its frames lie; convert it to NIfTI, with the spacing of its slices")


def _describe(data: Any, who: str) -> _Frames:
    """Gather the groups of the frames; what all share stands once in the file."""
    shared = data.get("SharedFunctionalGroupsSequence", None)
    items = list(data.PerFrameFunctionalGroupsSequence)

    def group(item: Any, name: str) -> Any:
        for holder in (item, shared[0] if shared else None):
            if holder is not None and holder.get(name, None):
                return getattr(holder, name)[0]
        return None

    planes = [group(item, "PlanePositionSequence") for item in items]
    turns = [group(item, "PlaneOrientationSequence") for item in items]
    sizes = [group(item, "PixelMeasuresSequence") for item in items]
    if any(part is None for part in (*planes, *turns, *sizes)):
        raise DataError(f"{who} does not say where its frames lie; convert it to NIfTI, with the spacing of its slices")
    directions = np.array([turn.ImageOrientationPatient for turn in turns], dtype=np.float64)
    pixels = np.array([size.PixelSpacing for size in sizes], dtype=np.float64)
    if np.abs(directions - directions[0]).max() > TURNED or np.abs(pixels - pixels[0]).max() > TURNED:
        raise DataError(f"{who} has frames of several orientations or pixel sizes; split it, or convert it to NIfTI")
    scales = [group(item, "PixelValueTransformationSequence") for item in items]
    order = []
    for number, item in enumerate(items):
        content = group(item, "FrameContentSequence")
        time = 0 if content is None else int(content.get("TemporalPositionIndex", 0) or 0)
        values = () if content is None else content.get("DimensionIndexValues", None) or ()
        values = [values] if isinstance(values, int) else values
        order.append((time, *(int(value) for value in values), number))
    return _Frames(
        positions=np.array([plane.ImagePositionPatient for plane in planes], dtype=np.float64),
        slopes=np.array([1.0 if scale is None else float(scale.RescaleSlope) for scale in scales]),
        intercepts=np.array([0.0 if scale is None else float(scale.RescaleIntercept) for scale in scales]),
        order=order,
        rows=directions[0, :3],
        columns=directions[0, 3:],
        pixel=(float(pixels[0, 1]), float(pixels[0, 0])),  # DICOM says the distance of rows first
    )


def _volume(pixels: NDArray[Any], frames: _Frames, request: Request) -> Loaded:
    who = request.who
    places = frames.positions @ np.cross(frames.rows, frames.columns)
    ranks = np.concatenate([[0], np.cumsum(np.diff(np.sort(places)) > SAME_PLACE)])
    rank = np.empty(len(places), dtype=int)
    rank[np.argsort(places, kind="stable")] = ranks
    members = [sorted(np.flatnonzero(rank == k).tolist(), key=lambda i: frames.order[i]) for k in range(ranks[-1] + 1)]
    times = {len(frames_here) for frames_here in members}
    if len(times) > 1:
        raise DataError(
            f"{who} has {min(times)} frames at some places and {max(times)} at others; split it, or convert it to NIfTI"
        )
    chosen = np.array(members)  # (Z, T)
    exact = (frames.slopes == 1).all() and (frames.intercepts == np.rint(frames.intercepts)).all()
    scaled = pixels[chosen] * frames.slopes[chosen, None, None] + frames.intercepts[chosen, None, None]
    array = scaled.transpose(3, 2, 0, 1).astype(np.int32 if exact else np.float32)
    origins = frames.positions[chosen[:, 0]]
    step = (origins[-1] - origins[0]) / max(len(origins) - 1, 1)
    lps = np.eye(4)
    lps[:3, :3] = np.stack([frames.rows * frames.pixel[0], frames.columns * frames.pixel[1], step], axis=1)
    lps[:3, 3] = origins[0]
    if len(origins) == 1:
        lps[:3, 2] = np.cross(frames.rows, frames.columns)
    _check_line(origins, places[chosen[:, 0]], frames, who)
    index = request.select(array.shape)
    even, affine, notices = even_slices(array, RAS_TO_LPS @ lps, places[chosen[:, 0]], who)
    return Loaded(np.ascontiguousarray(even[index]), affine, notices)


def _check_line(origins: NDArray[np.float64], places: NDArray[np.float64], frames: _Frames, who: str) -> None:
    """Slices may lean, as of a tilted gantry, but not each to its own side."""
    if len(origins) < 3:
        return
    share = (places - places[0]) / (places[-1] - places[0])
    apart = origins - (origins[0] + share[:, None] * (origins[-1] - origins[0]))
    if np.linalg.norm(apart, axis=1).max() > SHIFTED * min(frames.pixel):
        raise DataError(f"{who} has frames that are shifted against each other; convert it to NIfTI")
