"""Read one subject's files once and note what matters; nothing that is wrong with them stops it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.errors import DataError
from ..data.layouts.subjects import image_id, modality, subject_of
from ..data.pairs.loading import file_of
from ..data.scans.stored import StoredImage, read_stored
from ..space.nifti_header import axis_codes, raw_header
from .report import FileReport, SubjectReport

__all__ = ["inspect_file", "inspect_subject"]

_MOST_IDS = 1 << 16  # counted by table; beyond, by sorting


def inspect_subject(subject: Mapping[str, Any], sides: tuple[str, ...] = ("training",)) -> SubjectReport:
    """Read image, label map and mask of a subject.

    Args:
        subject: an entry of a data list: ``image`` and optionally ``label``, ``mask`` (paths), ``id``,
            ``subject``, ``modality``.
        sides: which lists it stands in.
    """
    reports = {key: inspect_file(path, key) for key in ("label", "mask") if (path := file_of(subject, key))}
    return SubjectReport(
        id=image_id(subject),
        subject=subject_of(subject),
        modality=modality(subject),
        sides=sides,
        image=inspect_file(file_of(subject, "image"), "image"),
        **reports,
    )


def inspect_file(path: str, role: str) -> FileReport:
    """Read one file.

    Args:
        path: the file.
        role: ``"image"``, ``"label"`` or ``"mask"``: of the latter two the ids are counted.

    Returns:
        its report; with nothing but ``error`` where it cannot be read.
    """
    try:
        stored = read_stored(path, role)
        if stored.array.dtype.kind not in "biuf":
            raise DataError(
                f"{role} {path} must hold one number per voxel, got {stored.array.dtype}; convert it to grey values"
            )
        if stored.array.size == 0:
            raise DataError(f"{role} {path} has no voxel, its shape is {stored.array.shape}; copy it again")
        report = FileReport(
            path=path,
            role=role,
            shape=tuple(stored.array.shape),
            dtype=str(stored.dtype),
            **_geometry(stored),
            **_values(stored.array),
            digest=_digest(stored.array),
        )
        return report if role == "image" else replace(report, **_ids(stored.array, report))
    except DataError as error:
        return FileReport(path, role, error=str(error))
    except (OSError, MemoryError, ValueError) as error:
        reason = str(error) or type(error).__name__
        return FileReport(path, role, error=f"{role} {path} cannot be read ({reason}); check the file")


def _geometry(stored: StoredImage) -> dict[str, Any]:
    affine = np.asarray(stored.affine, dtype=np.float64)
    raw = raw_header(stored.path, stored.header)
    return {
        "affine": tuple(tuple(float(value) for value in row) for row in affine),
        "spacing": tuple(float(size) for size in np.sqrt((affine[:3, :3] ** 2).sum(0))),
        "axes": axis_codes(affine),
        **raw._asdict(),
    }


def _values(array: NDArray[Any]) -> dict[str, Any]:
    low, high = float(array.min()), float(array.max())  # NaN anywhere makes both NaN
    if np.isfinite([low, high]).all():
        return {"low": low, "high": high}
    finite = array[np.isfinite(array)]
    extremes = {"low": float(finite.min()), "high": float(finite.max())} if finite.size else {}
    return {"not_finite": array.size - finite.size, **extremes}


def _digest(array: NDArray[Any]) -> str:
    """Hash values and shape, whatever type, compression or scaling they are stored with."""
    # the first axis runs fastest, as in the file: no copy but for the type
    values = np.asfortranarray(array, dtype=np.float32)
    digest = hashlib.blake2b(str(array.shape).encode(), digest_size=16)
    digest.update(values.T.data)
    return digest.hexdigest()


def _ids(array: NDArray[Any], report: FileReport) -> dict[str, Any]:
    if report.not_finite:
        return {}
    inside = array != 0
    extents = [np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    found: dict[str, Any] = {"slices": int(min(places[-1] - places[0] + 1 if len(places) else 0 for places in extents))}
    if array.dtype.kind == "f":
        whole = np.rint(array)
        broken = array != whole
        if broken.any():
            return {**found, "fraction": float(array[broken].flat[0])}
        array = whole
    low = int(report.low)
    if report.high - low < _MOST_IDS:
        table = np.bincount((array - array.dtype.type(low)).astype(np.int64).ravel(order="K"))
        counts = {int(i) + low: int(table[i]) for i in np.flatnonzero(table)}
    else:
        counts = {int(i): int(n) for i, n in zip(*np.unique(array, return_counts=True))}
    return {**found, "counts": counts}
