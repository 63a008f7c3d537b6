"""What is wrong with one file, whatever the other files are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..data.scans.kind import ROUNDING
from ..space.nifti_header import MILLIMETRES, stretch
from .report import ERROR, WARN, FileReport, Finding, SubjectReport

__all__ = ["check_files"]

_FEWEST_VOXELS = 16  # the deepest level of the networks is one voxel there
_OBLIQUE_DEGREES = 1.0
_SHEAR = 1e-4  # what write_itk_transform() accepts
_SAME_PLACE = 0.1  # of a voxel; a quaternion in float32 is that good and better


def check_files(subject: SubjectReport) -> Iterator[Finding]:
    """Findings about the files of a subject, each by itself.

    Args:
        subject: its report.
    """
    for file in subject.files():
        where = (subject.id,)
        if file.error:
            what, _, cure = file.error.rpartition("; ")
            yield Finding(ERROR, "unreadable", where, what or file.error, cure if what else "check the file")
            continue
        for level, check, what, cure in _header(file):
            yield Finding(level, check, where, f"{file.role} {what}", cure)
        for level, check, what, cure in _image(file, subject.modality) if file.role == "image" else _mask(file):
            yield Finding(level, check, where, f"{file.role} {what}", cure)


_Rule = Iterator[tuple[str, str, str, str]]  # level, check, what, cure


def _header(file: FileReport) -> _Rule:
    broken = [size for size in file.pixdim if not (np.isfinite(size) and size > 0)]
    if broken or not file.placed:
        field = f"pixdim {_numbers(file.pixdim)}" if broken else f"affine {_numbers(np.ravel(file.affine[:3]))}"
        cure = "write the true voxel size and orientation into the header, then check again"
        yield ERROR, "spacing", f"has no usable voxel size: {field}", cure
        return
    if file.apart is not None and not file.apart <= _SAME_PLACE:
        found = "qform is no rotation" if np.isnan(file.apart) else "qform and sform contradict each other"
        apart = "" if np.isnan(file.apart) else f", up to {file.apart:.3g} voxels apart"
        yield (
            ERROR,
            "qform_sform",
            f"{found} (codes {_numbers(file.codes)}{apart}); the sform is used here",
            "find out which is right and write it into both",
        )
    if file.role != "image":
        return  # what follows is the same for a label map on its image's grid, which is checked elsewhere
    factor = MILLIMETRES.get(file.unit, 1.0)
    if stretch(file.pixdim, np.array(file.spacing) / factor):
        yield (
            WARN,
            "pixdim",
            f"pixdim {_numbers(file.pixdim)} says another voxel size than the affine, {_numbers(file.spacing)}, which"
            " is used here; ITK takes pixdim",
            "find out which is right and write it into both",
        )
    if factor != 1:
        yield (
            WARN,
            "unit",
            f"header counts in {file.unit}s: MONAI reads its numbers as mm, ITK and register turn them into mm",
            "write the header in mm (nibabel: header.set_xyzt_units), with the affine in mm",
        )
    if file.codes and max(file.codes) == 0:
        yield (
            WARN,
            "no_orientation",
            "header gives no orientation (qform and sform code 0): left and right are a guess",
            "set the orientation, or be sure that all files have the same",
        )
    directions = file.matrix[:3, :3] / np.array(file.spacing)
    if np.abs(directions.T @ directions - np.eye(3)).max() > _SHEAR:
        yield (
            WARN,
            "sheared",
            "axes are not orthogonal: fields cannot be written for ITK, ANTs and 3D Slicer",
            "resample it to an orthogonal grid (nibabel.processing.resample_to_output)",
        )
    # the angle of every voxel axis to the nearest axis of the patient
    angle = float(np.degrees(np.arccos(np.abs(directions).max(axis=0).clip(max=1))).max())
    if angle > _OBLIQUE_DEGREES:
        yield (
            WARN,
            "oblique",
            f"is oblique, {angle:.0f} degrees off the axes {file.axes}",
            "nothing, if all images share this grid; otherwise resample to one",
        )


def _image(file: FileReport, modality: str) -> _Rule:
    if min(file.shape) < 2:
        yield ERROR, "too_small", f"is a single slice, {_sizes(file)}", "give a volume of at least 16 voxels per axis"
    elif min(file.shape) < _FEWEST_VOXELS:
        yield WARN, "too_small", f"is small, {_sizes(file)}: most of what the network sees is padding", "resample it"
    if file.not_finite:
        yield ERROR, "not_finite", _not_finite(file), "replace them by the background value"
    if not file.low < file.high:  # also where no voxel is finite
        yield ERROR, "constant", f"is constant ({file.low:g} everywhere)", "leave the file out, or copy it again"
    elif modality.upper() == "CT" and file.low >= 0 and file.high > 1024:
        yield (
            WARN,
            "hounsfield",
            f"has {file.low:g} to {file.high:g}, no negative value: not Hounsfield units?",
            "subtract the offset, usually 1024, where the intensity window is in Hounsfield units",
        )


def _mask(file: FileReport) -> _Rule:
    """What label maps and masks share."""
    if file.not_finite:
        yield ERROR, "not_finite", _not_finite(file), "draw or convert it again"
    elif file.fraction is not None:
        yield (
            ERROR,
            "fraction",
            f"must hold whole numbers, has {file.fraction:g}",
            "store the ids as whole numbers, the header's slope changes them"
            if abs(file.fraction - round(file.fraction)) <= ROUNDING
            else "resample with nearest-neighbour interpolation",
        )
    elif file.low == file.high == 0:
        yield ERROR, "empty", "is empty (0 everywhere)", "draw it, or leave it out of the data list"
    elif file.role == "mask":
        inside = sorted(set(file.counts) - {0})
        if len(inside) > 1 or inside[0] < 0:
            yield (
                ERROR,
                "mask_values",
                f"must hold 0 and one positive value, has {_numbers([0, *inside[:5]])}",
                "make one mask of it",
            )
        elif file.slices == 1:
            yield WARN, "one_slice", "covers one slice only", "check that it is complete"


def _not_finite(file: FileReport) -> str:
    return f"has {file.not_finite} NaN or infinite voxels"


def _sizes(file: FileReport) -> str:
    return " x ".join(str(size) for size in file.shape)


def _numbers(values: object) -> str:
    return " ".join(f"{value:g}" for value in np.asarray(values, dtype=np.float64))
