"""From the network's field, or from none, to the field that fits the pair at the scans' own resolution."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morphseek_monai.fields.separable import resize_smooth
from morphseek_monai.inference.instance_optimisation import Level, field_at, level_sizes, optimise
from morphseek_monai.inference.landmark_force import LandmarkForce
from morphseek_monai.inference.similarity import contrasts_differ, foreground, local_correlation
from morphseek_monai.registration.checks import moved, similarity_after
from morphseek_monai.registration.native import transfer, whole_field
from morphseek_monai.registration.prepare.finest import FinestPair, finest_grid, finest_pair
from morphseek_monai.registration.prepare.landmarks import PointPair
from morphseek_monai.registration.prepare.pair import NetworkPair
from morphseek_monai.registration.prepare.resample import View, as_tensor, mask_on, onto_grid
from morphseek_monai.space.grid import Grid

LEAST_SHARE = 0.75  # of the network grid's voxels along an axis; a level that has fewer is coarser


@dataclass
class Fitted:
    """The field of a pair after the optimisation.

    Attributes:
        ddf: ``(1, 3, D, H, W)`` in voxels of ``grid``; None is the affine alone.
        similarity: that it reached; None where it was not optimised.
        grid: RAS mm.
        record: what was done, in plain types.
        notices: remarks for the user.
    """

    ddf: Tensor | None
    similarity: float | None
    grid: Grid
    record: dict[str, Any]
    notices: list[str] = field(default_factory=list)

    def fields(self, pair: NetworkPair, target: Grid) -> tuple[Tensor, Grid, Tensor]:
        """The field that the pair's affine follows, and on the network's grid.

        Args:
            pair: that was fitted.
            target: RAS mm, where a field is given that has the pair's initial map in it.

        Returns:
            the field on a grid, zero where there is none; that grid, the field's own or ``target``; the field on the
            network's grid.
        """
        device = pair.image.device
        if pair.initial is not None:
            ddf = torch.zeros(1, 3, *self.grid.size) if self.ddf is None else self.ddf
            final, on_network = (
                whole_field(ddf, self.grid, grid, pair.initial, pair.affine) for grid in (target, pair.grid)
            )
            return final, target, on_network.to(device)
        if self.ddf is None:
            return torch.zeros(1, 3, *self.grid.size), self.grid, torch.zeros(1, 3, *pair.grid.size, device=device)
        return self.ddf, self.grid, transfer(self.ddf, self.grid, pair.grid).to(device)


class _Look:
    """The pair at half its finest resolution, to compare fields by: as fine as what labels outline, and cheap.

    Args:
        images: on the finest grid.
        size: ``(D, H, W)``, of the level.
        device: to compute on.
        landmarks: on the finest grid, or None.
    """

    def __init__(
        self, images: FinestPair, size: tuple[int, int, int], device: torch.device, landmarks: LandmarkForce | None
    ) -> None:
        moving, fixed, valid = (
            resize_smooth(image[0].to(device), size)[None] for image in (images.moving, images.fixed, images.valid)
        )
        self.size, self.view, self.fixed, self.foreground = size, View(moving, valid), fixed, foreground(fixed[:, :1])
        if images.counts is not None:
            self.foreground &= resize_smooth(images.counts[0].to(device), size)[None] > 0.5
        self.landmarks = None if landmarks is None else landmarks.at(size)

    def similarity(self, ddf: Tensor | None) -> float:
        """Local correlation after a field over the same extent, ``(1, 3, d, h, w)`` at any resolution."""
        view = self.view if ddf is None else moved(self.view, field_at(ddf[0], self.size)[None])
        return float(local_correlation(self.fixed, view.image, self.foreground & (view.valid > 0.5)))

    def penalty(self, ddf: Tensor | None) -> float:
        """What the same field costs that misses landmarks."""
        if self.landmarks is None:
            return 0.0
        own = self.fixed.new_zeros(3, *self.size) if ddf is None else field_at(ddf[0], self.size)
        return self.landmarks.penalty(own)


def fit_field(
    pair: NetworkPair,
    ddf: Tensor | None,
    refine: int | str,
    coarser: float = 1.0,
    landmarks: PointPair | None = None,
) -> Fitted:
    """Optimise the field of a pair, coarse to fine.

    The coarse levels, which cost next to nothing, start from the affine; the levels as fine as the network's grid and
    finer start from there or from the network's field, whichever is the more similar when both are as smooth as the
    coarse levels: a rough field is more similar and less right (``docs/benchmarks/real.md``). Where the images say
    nothing, no force pulls, and the field stays what it was.

    Args:
        pair: on the network's grid.
        ddf: the network's field there; None if it is of no use.
        refine: ``"auto"``, or the most iterations at the finest level.
        coarser: factor on the spacing of the finest level, to save memory.
        landmarks: that the field is to respect. What it misses them by then counts against it wherever fields are
            compared, see :class:`~morphseek_monai.inference.landmark_force.LandmarkForce`.

    Returns:
        the outcome; the field that was given, with a notice, where the optimisation does not raise the similarity of
        what it started from.
    """
    fixed, moving = pair.oriented
    grid = finest_grid(fixed, moving.grid.spacing, coarser)
    images = finest_pair(*pair.contrasts, pair.points, grid)
    device = pair.image.device
    there, here, valid = (image.to(device) for image in (images.moving, images.fixed, images.valid))
    counts = None if images.counts is None else images.counts.to(device)
    marks = None if landmarks is None else landmarks.force(pair.points, pair.affine, grid, device)
    unlike = pair.fixed.modality != pair.moving.modality or _contrasts_differ(pair)

    sizes = level_sizes(grid.size, grid.spacing.tolist())
    look = _Look(images, sizes[max(len(sizes) - 2, 0)], device, marks)
    extent = np.array(grid.size) * grid.spacing
    coarse = sum(bool((extent / size > pair.grid.spacing / LEAST_SHARE).any()) for size in sizes[:-1])
    spacing = grid.spacing.tolist()
    levels: list[Level] = []
    start, origin = None, pair.begin
    fit = partial(optimise, there, here, spacing, valid=valid, counts=counts, landmarks=marks, unlike=unlike)
    if coarse:
        roughly = fit(levels=slice(0, coarse))
        start, levels = roughly.ddf, list(roughly.levels)
    similarity: dict[str, float] = {}
    penalty: dict[str, float] = {}

    def score(name: str, field: Tensor | None) -> float:
        similarity[name], penalty[name] = look.similarity(field), look.penalty(field)
        return similarity[name] - penalty[name]

    least, coarsely = score(pair.begin, None), score("coarse", start)
    if ddf is not None:
        smooth = _as_smooth(ddf, extent / np.array(sizes[max(coarse - 1, 0)]) / pair.grid.spacing)
        by_network = score("network", transfer(smooth, pair.grid, grid).to(device))
        if by_network > coarsely:
            start, origin, least = transfer(ddf, pair.grid, grid).to(device), "network", by_network
    done = fit(start=start, levels=slice(coarse, None), iterations=None if refine == "auto" else int(refine))
    levels += done.levels
    gained = score("after", done.ddf) > least
    record = {
        "optimiser": {
            "start": origin,
            "force": "MIND" if unlike else "local correlation",
            "grid": {"size": list(grid.size), "spacing": spacing},
            "similarity": {"size": list(look.size), **similarity},
            "levels": [level._asdict() for level in levels],
        }
    }
    met = penalty["after"] < penalty[origin]  # what the user knows of the pair is worth more than its similarity
    if unlike or gained or met:
        then, now = similarity[origin], similarity["after"]
        lost = f"the landmarks cost similarity: {then:.3f} before the optimiser, {now:.3f} after it"
        notices = [lost] if met and now < then else []
        return Fitted(done.ddf, pair_similarity(pair, done.ddf, grid), grid, record, notices)
    notice = "the optimisation raises no similarity and is left out"
    return Fitted(ddf, None, pair.grid, record, [notice])


def _contrasts_differ(pair: NetworkPair) -> bool:
    """Whether one of the contrasts is another one in the other scan.

    Before the network, whose field makes T1 and T2 locally alike by moving anatomy: of the correlation, 0.30 to 0.49 is
    negative in such pairs of whole heads after the affine, 0.24 to 0.41 after the network; in pairs of like contrast at
    most 0.12 after the affine.
    """
    return any(
        contrasts_differ(fixed[None], moving[None], pair.foreground)
        for fixed, moving in zip(pair.still.image[0, :, None], pair.view.image[0, :, None])
    )


def _as_smooth(ddf: Tensor, factor: NDArray[np.float64]) -> Tensor:
    """What a grid ``factor`` times as coarse can show of a field, on its own grid."""
    size = [max(2, round(n / max(f, 1.0))) for n, f in zip(ddf.shape[2:], factor.tolist())]
    return resize_smooth(resize_smooth(ddf[0], size), ddf.shape[2:], blur=0.0)[None]


def pair_similarity(pair: NetworkPair, ddf: Tensor, grid: Grid) -> float:
    """Similarity on the network's grid after a field over the extent of ``grid``, at any resolution."""
    factor = np.array(grid.size) / np.array(ddf.shape[2:])
    place = np.diag([*factor, 1.0])
    place[:3, 3] = (factor - 1) / 2
    own = Grid.from_size(ddf.shape[2:], grid.affine @ place)
    return similarity_after(pair, transfer(ddf, own, pair.grid).to(pair.image.device))


def foreground_at(pair: NetworkPair, grid: Grid) -> Tensor:
    """The fixed foreground ``(1, 1, D, H, W)`` bool on a grid."""
    if grid.same_as(pair.grid):
        return pair.foreground
    fixed, device = pair.oriented[0], pair.image.device
    found = foreground(as_tensor(onto_grid(fixed, grid, np.eye(4)), device=device))
    mask = mask_on(fixed, grid, np.eye(4))
    return found if mask is None else found & (as_tensor(mask, device=device) > 0.5)
