"""From the network's field, or from none, to the field that fits the pair at the scans' own resolution."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morphseek_monai.fields import warp
from morphseek_monai.fields.separable import resize_smooth
from morphseek_monai.inference.instance_optimisation import Level, field_at, level_sizes, optimise
from morphseek_monai.inference.similarity import contrasts_differ, foreground, local_correlation
from morphseek_monai.registration.checks import moved, similarity_after
from morphseek_monai.registration.native import transfer
from morphseek_monai.registration.prepare.finest import FinestPair, finest_grid, finest_pair
from morphseek_monai.registration.prepare.pair import NetworkPair
from morphseek_monai.registration.prepare.resample import View, as_tensor, onto_grid
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

    def fields(self, pair: NetworkPair) -> tuple[Tensor, Tensor]:
        """The field on its own grid, zero where there is none, and on the network's grid."""
        if self.ddf is None:
            zero = torch.zeros(1, 3, *self.grid.size)
            return zero, torch.zeros(1, 3, *pair.grid.size, device=pair.image.device)
        return self.ddf, transfer(self.ddf, self.grid, pair.grid).to(pair.image.device)


class _Look:
    """The pair at half its finest resolution, to compare fields by: as fine as what labels outline, and cheap.

    Args:
        images: on the finest grid.
        size: ``(D, H, W)``, of the level.
    """

    def __init__(self, images: FinestPair, size: tuple[int, int, int], device: torch.device) -> None:
        moving, fixed, valid = (
            resize_smooth(image[0].to(device), size)[None] for image in (images.moving, images.fixed, images.valid)
        )
        self.size, self.view, self.fixed, self.foreground = size, View(moving, valid), fixed, foreground(fixed)

    def similarity(self, ddf: Tensor | None) -> float:
        """Local correlation after a field over the same extent, ``(1, 3, d, h, w)`` at any resolution."""
        view = self.view if ddf is None else moved(self.view, field_at(ddf[0], self.size)[None])
        return float(local_correlation(self.fixed, view.image, self.foreground & (view.valid > 0.5)))


def fit_field(pair: NetworkPair, ddf: Tensor | None, refine: int | str, coarser: float = 1.0) -> Fitted:
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

    Returns:
        the outcome; the field that was given, with a notice, where the optimisation does not raise the similarity of
        what it started from.
    """
    fixed, moving = pair.oriented
    grid = finest_grid(fixed, moving.grid.spacing, coarser)
    images = finest_pair(fixed, moving, pair.affine, grid)
    device = pair.image.device
    there, here, valid = (image.to(device) for image in (images.moving, images.fixed, images.valid))
    warped = pair.view.image if ddf is None else warp(pair.view.image, ddf)
    unlike = pair.fixed.modality != pair.moving.modality or contrasts_differ(pair.image[:, 1:], warped)

    sizes = level_sizes(grid.size, grid.spacing.tolist())
    look = _Look(images, sizes[max(len(sizes) - 2, 0)], device)
    extent = np.array(grid.size) * grid.spacing
    coarse = sum(bool((extent / size > pair.grid.spacing / LEAST_SHARE).any()) for size in sizes[:-1])
    spacing = grid.spacing.tolist()
    levels: list[Level] = []
    start, origin = None, "affine"
    if coarse:
        roughly = optimise(there, here, spacing, valid=valid, levels=slice(0, coarse), unlike=unlike)
        start, levels = roughly.ddf, list(roughly.levels)
    least = look.similarity(None)
    similarity = {"affine": least, "coarse": least if start is None else look.similarity(start)}
    if ddf is not None:
        smooth = _as_smooth(ddf, extent / np.array(sizes[max(coarse - 1, 0)]) / pair.grid.spacing)
        similarity["network"] = look.similarity(transfer(smooth, pair.grid, grid).to(device))
        if similarity["network"] > similarity["coarse"]:
            start, origin, least = transfer(ddf, pair.grid, grid).to(device), "network", similarity["network"]
    done = optimise(
        there,
        here,
        spacing,
        valid=valid,
        start=start,
        levels=slice(coarse, None),
        iterations=None if refine == "auto" else int(refine),
        unlike=unlike,
    )
    levels += done.levels
    similarity["after"] = look.similarity(done.ddf)
    record = {
        "optimiser": {
            "start": origin,
            "force": "MIND" if unlike else "local correlation",
            "grid": {"size": list(grid.size), "spacing": spacing},
            "similarity": {"size": list(look.size), **similarity},
            "levels": [level._asdict() for level in levels],
        }
    }
    if unlike or similarity["after"] > least:
        return Fitted(done.ddf, pair_similarity(pair, done.ddf, grid), grid, record)
    notice = "the optimisation raises no similarity and is left out"
    return Fitted(ddf, None, pair.grid, record, [notice])


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
    fixed_foreground = foreground(pair.image[:, 1:])
    if grid.same_as(pair.grid):
        return fixed_foreground
    return foreground(as_tensor(onto_grid(pair.oriented[0], grid, np.eye(4)), device=fixed_foreground.device))
