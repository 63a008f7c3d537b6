"""Grids that must agree: of a label map and its image, and of the images that are paired."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ..space.grid import GRID_TOLERANCE, corner_distance
from .report import ERROR, OK, WARN, FileReport, Finding, SubjectReport

__all__ = ["Unified", "check_grids"]

_HALF_VOXEL = 0.5
_SPACING = 0.01  # relative


class Unified(NamedTuple):
    """What the preprocessing makes equal, so that the files need not be.

    Attributes:
        shape: images of any size come out with one.
        axes: orientations.
        spacing: voxel sizes.
    """

    shape: bool = False
    axes: bool = False
    spacing: bool = False


def check_grids(subjects: Sequence[SubjectReport], unified: Unified) -> Iterator[Finding]:
    """Findings about grids within and between subjects.

    Args:
        subjects: the reports.
        unified: what the preprocessing takes care of between subjects.
    """
    for subject in subjects:
        for file in subject.files():
            if file.role != "image" and not (file.error or subject.image.error):
                yield from _within(subject, file)
    images = [(subject.id, subject.image) for subject in subjects if not subject.image.error]
    if images:
        yield from _between(images, unified)


def _within(subject: SubjectReport, file: FileReport) -> Iterator[Finding]:
    image, where = subject.image, (subject.id,)
    if file.shape != image.shape:
        what = f"{file.role} has shape {_sizes(file.shape)}, its image {_sizes(image.shape)}"
        yield Finding(ERROR, "label_grid", where, what, f"resample the {file.role} to the image (nearest neighbour)")
        return
    if not (file.placed and image.placed):
        return
    apart = corner_distance(image.matrix, file.matrix, image.shape)
    if apart > GRID_TOLERANCE * 10:
        yield Finding(
            ERROR if apart > _HALF_VOXEL else WARN,
            "label_grid",
            where,
            f"{file.role} ({file.axes}) lies up to {apart:.3g} voxels off its image ({image.axes}) by their headers",
            f"copy the image's header if the voxels agree, otherwise resample the {file.role}",
        )


def _between(images: list[tuple[str, FileReport]], unified: Unified) -> Iterator[Finding]:
    shapes = Counter(image.shape for _, image in images)
    usual = shapes.most_common(1)[0][0]
    if len(shapes) == 1:
        yield Finding(OK, "shape", (), f"all images have {_sizes(usual)} voxels")
    elif unified.shape:
        yield Finding(OK, "shape", (), f"{len(shapes)} different shapes, which the preprocessing makes one")
    else:
        for name, image in images:
            if image.shape != usual:
                what = f"image has shape {_sizes(image.shape)}, most have {_sizes(usual)}: they make no pair"
                cure = "resample it to the others' grid, or add Resized or ResizeWithPadOrCropd to the preprocessing"
                yield Finding(ERROR, "shape", (name,), what, cure)
    placed = [(name, image) for name, image in images if image.placed]
    if not placed:
        return
    # the majority decides, so that one odd file is named and not all others
    key = Counter((image.axes, _spacing(image)) for _, image in placed).most_common(1)[0][0]
    usual_axes, usual_spacing = key
    alike = Counter(image.affine for _, image in placed if (image.axes, _spacing(image)) == key)
    affine = np.array(alike.most_common(1)[0][0])
    exact = True
    for name, image in placed:
        axes, spacing = image.axes, _spacing(image)
        if axes != usual_axes:
            exact = False
            if not unified.axes:
                what = f"image axes are {axes}, most are {usual_axes}: its voxels run the other way"
                cure = f"reorient image and label to {usual_axes}, or add Orientationd to the preprocessing"
                yield Finding(ERROR, "axes", (name,), what, cure)
        elif max(abs(a / b - 1) for a, b in zip(spacing, usual_spacing)) > _SPACING:
            exact = False
            if not unified.spacing:
                what = f"image has voxels of {_sizes(spacing)} mm, most of {_sizes(usual_spacing)} mm"
                cure = "resample it to the others' grid, or add Spacingd to the preprocessing"
                yield Finding(ERROR, "spacing_differs", (name,), what, cure)
        elif image.shape == usual and not unified.shape:
            apart = corner_distance(affine, image.matrix, image.shape)
            if apart > GRID_TOLERANCE * 10:
                exact = False
                yield Finding(
                    WARN,
                    "position",
                    (name,),
                    f"image lies up to {apart:.3g} voxels off the others by its header",
                    "align everyone to one template and grid; results of unlike grids are not written",
                )
    if exact:
        yield Finding(OK, "grid", (), f"all images have axes {usual_axes} and voxels of {_sizes(usual_spacing)} mm")


def _spacing(image: FileReport) -> tuple[float, ...]:
    return tuple(float(f"{size:.3g}") for size in image.spacing)


def _sizes(values: Sequence[float]) -> str:
    return " x ".join(f"{value:g}" for value in values)
