"""The pictures of a report, three planes each, before anything is known about a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .content import ReportContent
from .lines import Line, grid_lines, outlines
from .pictures import (
    DIFFERENCE,
    DISPLACEMENT,
    GREY,
    JACOBIAN,
    UNCERTAINTY,
    finite,
    fit,
    largest,
    levels,
    window,
)
from .planes import PLANES, Cuts, foreground_centre

IMAGES = {
    "fixed": ("Fixed", "the image that the other is brought to"),
    "before": ("Moving, by the headers", "where its file says that it lies, before anything is done"),
    "aligned": ("Moving, after the affine", "moved, turned, scaled and sheared as a whole"),
    "warped": ("Registered", "moving image after affine and displacement field: the result"),
}
_TILES = 9  # of the checkerboard, along the larger side of a plane
_DIFFERENCE = 0.5  # at the ends of the colour bar, the same in every report

Triple = Sequence[NDArray[Any]]  # one picture per plane


@dataclass(frozen=True)
class Bar:
    """Colour bar: numbers at its two ends and in the middle, and what an extra first colour means."""

    low: str
    middle: str
    high: str
    reserved: str = ""


@dataclass(frozen=True)
class Panel:
    """One quantity in the three planes of ``PLANES``.

    Attributes:
        key: short name, unique in a report.
        title: heading.
        caption: what to look for.
        indices: per plane, ``(rows, columns)`` indices into ``palette``.
        palette: ``(256, 3)`` colours.
        bar: colour bar; None of a grey image.
        lines: per plane, lines over the picture, in voxels of the plane.
    """

    key: str
    title: str
    caption: str
    indices: tuple[NDArray[np.uint8], ...]
    palette: NDArray[np.uint8] = field(default_factory=lambda: GREY)
    bar: Bar | None = None
    lines: tuple[Sequence[Line], ...] = ((), (), ())


@dataclass(frozen=True)
class Panels:
    """All panels of a report.

    Attributes:
        cuts: the planes shown.
        images: fixed, before, aligned, warped.
        match: what tells whether the images agree.
        deformation: what tells whether the deformation is plausible.
        outlines: of the fixed image, per plane.
    """

    cuts: Cuts
    images: tuple[Panel, ...]
    match: tuple[Panel, ...]
    deformation: tuple[Panel, ...]
    outlines: tuple[Sequence[Line], ...]

    def __getitem__(self, key: str) -> Panel:
        """The panel of a key."""
        return next(panel for panel in (*self.images, *self.match, *self.deformation) if panel.key == key)


def make_panels(content: ReportContent) -> Panels:
    """Cut and colour everything that a report shows.

    The planes meet in the centre of the fixed image's foreground. Fixed and moving image are each shown in their
    own range of intensities, the three states of the moving image in one.
    """
    fixed_range = window(content.fixed)
    x, y, z = content.fixed.shape
    cuts = Cuts(np.asarray(content.affine, dtype=np.float64), (x, y, z), foreground_centre(content.fixed, *fixed_range))
    pictures = {key: [cuts.picture(getattr(content, key), plane) for plane in PLANES] for key in IMAGES}
    moving_range = window(content.warped, *pictures["before"], *pictures["aligned"])
    shares = {
        key: [_share(picture, *(fixed_range if key == "fixed" else moving_range)) for picture in pictures[key]]
        for key in IMAGES
    }
    grey = {key: _indices(pictures, 0, 1) for key, pictures in shares.items()}
    images = tuple(Panel(key, *IMAGES[key], grey[key]) for key in IMAGES)
    return Panels(
        cuts,
        images,
        (_checkerboard(shares["fixed"], shares["warped"], cuts), *_differences(shares)),
        tuple(_deformation(content, cuts, grey["fixed"])),
        tuple(outlines(picture, _outline_values(shares["fixed"])) for picture in shares["fixed"]),
    )


def _share(picture: NDArray[Any], low: float, high: float) -> NDArray[np.float32]:
    """Intensities in 0 (black) to 1 (white)."""
    share: NDArray[np.float32] = np.nan_to_num((picture.astype(np.float32) - low) / (high - low), posinf=1, neginf=0)
    return share.clip(0, 1)


def _indices(pictures: Triple, low: float, high: float) -> tuple[NDArray[np.uint8], ...]:
    return tuple(fit(levels(picture, low, high)) for picture in pictures)


def _outline_values(pictures: Triple) -> tuple[float, float]:
    """Where the body begins, and where its bright tissue does."""
    inside = np.concatenate([picture[picture > 0.1] for picture in pictures])
    return (0.15, float(np.median(inside))) if inside.size else (0.15, 0.5)


def _checkerboard(fixed: Triple, warped: Triple, cuts: Cuts) -> Panel:
    boards = []
    for plane, one, other in zip(PLANES, fixed, warped):
        tile = max(cuts.extent(plane)) / _TILES
        across, down = (np.floor(np.arange(n) * mm / tile) for n, mm in zip(one.shape[::-1], cuts.spacing(plane)))
        boards.append(np.where((down[:, None] + across) % 2 == 0, one, other))
    caption = "fixed and registered image in turn: edges should continue from tile to tile"
    return Panel("checkerboard", "Checkerboard", caption, _indices(boards, 0, 1))


def _differences(shares: Mapping[str, Triple]) -> list[Panel]:
    moments = {"before": "by the headers", "aligned": "after the affine", "warped": "registered"}
    bar = Bar(f"−{_DIFFERENCE}", "0", f"+{_DIFFERENCE}")
    caption = "fixed − moving, each on a scale from 0 to 1: black where they agree"
    panels = []
    for key, moment in moments.items():
        differences = [one - other for one, other in zip(shares["fixed"], shares[key])]
        indices = _indices(differences, -_DIFFERENCE, _DIFFERENCE)
        panels.append(Panel(f"difference-{key}", f"Difference, {moment}", caption, indices, DIFFERENCE, bar))
    return panels


def _deformation(content: ReportContent, cuts: Cuts, fixed: tuple[NDArray[np.uint8], ...]) -> list[Panel]:
    grid = Panel(
        "grid",
        "Deformation grid",
        "a regular grid, every point moved by the field",
        fixed,
        lines=tuple(grid_lines(cuts.displacement(content.ddf, plane), cuts.spacing(plane)) for plane in PLANES),
    )
    panels = [grid, _jacobian(content, cuts)]
    length = content.displacement_mm
    panels.append(
        _millimetres(
            "displacement",
            "Displacement",
            f"by the field, without the affine: mean {_mean(length)}, largest {finite(length).max():.3g} mm",
            length,
            cuts,
            DISPLACEMENT,
        )
    )
    if content.uncertainty is not None:
        caption = "expected distance of a boundary from where it belongs; largest where an image shows nothing"
        panels.append(_millimetres("uncertainty", "Uncertainty", caption, content.uncertainty, cuts, UNCERTAINTY))
    return panels


def _mean(volume: NDArray[Any]) -> str:
    return f"{finite(volume).mean():.3g} mm"


def _millimetres(
    key: str, title: str, caption: str, volume: NDArray[Any], cuts: Cuts, palette: NDArray[np.uint8]
) -> Panel:
    high = largest(volume)
    indices = _indices([cuts.picture(volume, plane) for plane in PLANES], 0, high)
    return Panel(key, title, caption, indices, palette, Bar("0", f"{high / 2:.2g}", f"{high:.2g} mm"))


def _jacobian(content: ReportContent, cuts: Cuts) -> Panel:
    indices = []
    for plane in PLANES:
        picture = cuts.picture(content.jacobian, plane)
        folded = fit(levels(picture <= 0, 0, 1)) > 0  # survives the averaging of large planes
        indices.append(np.where(folded, 0, fit(levels(picture, 0, 2, first=1)).clip(1)).astype(np.uint8))
    folds = 100 * float(np.mean(content.jacobian <= 0))
    caption = f"volume in the moving image per fixed volume, without the affine; {folds:.2g} % fold"
    return Panel("jacobian", "Jacobian determinant", caption, tuple(indices), JACOBIAN, Bar("0", "1", "2", "fold"))
