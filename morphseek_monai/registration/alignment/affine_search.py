"""The search for the affine map of one pair: where to begin, what to follow, what to keep."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from morphseek_monai.registration.alignment.body import centre_of_mass, random_points
from morphseek_monai.registration.alignment.lattice_search import candidates
from morphseek_monai.registration.alignment.linear_map import (
    Objective,
    TransformModel,
    ascend,
    plausible,
    transformed,
    translation,
)
from morphseek_monai.registration.alignment.mutual_information import MutualInformation
from morphseek_monai.registration.alignment.patch_correlation import PatchCorrelation
from morphseek_monai.space.image import Image

from .reading import shrink

__all__ = ["AffineSearch", "FoundAffine"]

Array = NDArray[np.float64]

# a head of 224 mm is seen at 8, 4 and 2 mm; a mouse or a torso at as many voxels
VOXELS_ALONG = 56
TRANSFORM_MODELS: tuple[TransformModel, ...] = ("rigid", "similarity", "affine")
POINTS = {"coarse": 4000, "middle": 10000, "fine": 10000}
POINTS_TO_JUDGE = 20000
PATCHES = {"middle": 500, "fine": 300}
TRIED = 6  # ways of laying the images on each other that the lattice proposes
FOLLOWED = 3  # of all starts, after a first look
NEARLY = 0.99  # of the best start's mutual information: as good as it; the headers then win over the other starts
UPRIGHT = 0.9  # the same for a start that turns the body: rarely is a header that wrong, often a body that symmetric
LEAST_GAIN = 1.001  # of one step; less is interpolation and noise
ENOUGH = 1.015  # of all steps over the headers; less moves labels apart as often as together
# chosen on the tuning pairs of docs/benchmarks/real_pairs.json (docs/benchmarks/affine.md)
STIFFNESS = 1.0  # nats per squared logarithm of the stretch of a step
CORRELATION = 2.0  # nats that a squared local correlation of 1 is worth
MOST_LOST = 0.1  # of the mutual information, to a better local correlation


class FoundAffine(NamedTuple):
    """What :meth:`AffineSearch.run` found.

    Attributes:
        matrix: ``(4, 4)``, positions fixed -> moving.
        start: what the search began with.
        turned: whether that turns the body by quarters.
        before: mutual information of no map at all, in nats.
        after: that of ``matrix``.
        overlap: share of the smaller image that the other one sees.
        notices: remarks for the user.
    """

    matrix: Array
    start: str
    turned: bool
    before: float
    after: float
    overlap: float
    notices: tuple[str, ...]


class _Start(NamedTuple):
    name: str
    turned: bool
    matrix: Array


_HEADERS = _Start("headers", False, np.eye(4))


class AffineSearch:
    """The search for one pair. Lengths are in about the radius of the body.

    Args:
        fixed: the fixed image, in [0, 1].
        moving: the moving image, alike.
        model: of the transform, see :func:`~morphseek_monai.registration.alignment.align.align`.
        generator: of the points where the images are compared.
        anywhere: False starts from the headers alone.
    """

    def __init__(
        self, fixed: Image, moving: Image, model: TransformModel, generator: np.random.Generator, anywhere: bool = True
    ) -> None:
        self.anywhere = anywhere
        self.transform_models = TRANSFORM_MODELS[: TRANSFORM_MODELS.index(model) + 1]
        self.spacing = 4 / VOXELS_ALONG
        fine = (shrink(fixed, self.spacing / 2), shrink(moving, self.spacing / 2))
        self.images = middle = (shrink(fine[0], self.spacing), shrink(fine[1], self.spacing))
        coarse = (shrink(middle[0], self.spacing * 2), shrink(middle[1], self.spacing * 2))
        pairs = {"coarse": coarse, "middle": middle, "fine": fine}
        self.information = {
            name: MutualInformation(*pairs[name], random_points(pairs[name][0], count, generator))
            for name, count in POINTS.items()
        }
        self.patches = {
            name: PatchCorrelation(*pairs[name], random_points(pairs[name][0], count, generator))
            for name, count in PATCHES.items()
        }
        self.judge = MutualInformation(*middle, random_points(middle[0], POINTS_TO_JUDGE, generator, everywhere=True))
        self.centre: Array = self.information["middle"].points.mean(1, dtype=np.float64)

    def run(self) -> FoundAffine:
        """Search; every step is kept only where it raises what it follows and stays plausible."""
        before = self.mutual_information(np.eye(4))
        start, matrix = self.best_start()
        notices = []
        for model in self.transform_models:
            better = self.ascend("middle", matrix, model, 30 if model == self.transform_models[-1] else 12)
            if not plausible(better):
                notices.append(f"the best {model} map scales or shears implausibly: the step before it is used")
                break
            matrix = self.better(matrix, better)
        else:
            for level in self.patches:
                matrix = self.sharpened(level, matrix, before)
        if self.mutual_information(matrix) < ENOUGH * before:
            start, matrix, notices = _HEADERS, np.eye(4), []
        if (matrix == start.matrix).all():
            notices.append(f"no alignment clearly raises the mutual information: the {start.name} are used as they are")
        overlap = self._overlap(matrix)
        after = self.mutual_information(matrix)
        return FoundAffine(matrix, start.name, start.turned, before, after, overlap, tuple(notices))

    def best_start(self) -> tuple[_Start, Array]:
        """The start that leads furthest, and where it leads at the coarsest level."""
        looks = [(start, self.rigid(start.matrix, 10)) for start in self.starts()]
        marks = [self.mark(start, matrix) for start, matrix in looks]
        order = sorted(range(len(looks)), key=lambda i: -marks[i])[:FOLLOWED]
        # the headers first: the first of equals wins
        looks = [(start, self.rigid(matrix, 20)) for start, matrix in (looks[i] for i in sorted({0, *order}))]
        marks = [self.mark(start, matrix) for start, matrix in looks]
        return next(look for look, mark in zip(looks, marks) if mark >= NEARLY * max(marks))

    def starts(self) -> list[_Start]:
        """All of them, the headers first."""
        if not self.anywhere:
            return [_HEADERS]
        fixed, moving = self.images
        found = [
            _HEADERS,
            _Start("centres of mass", False, translation(centre_of_mass(moving) - centre_of_mass(fixed))),
            _Start("centres of the grids", False, translation(moving.centre - fixed.centre)),
        ]
        for candidate in candidates(fixed, moving, TRIED):
            name = "quarter turns" if candidate.turned else "shifts on a lattice"
            found.append(_Start(name, candidate.turned, candidate.matrix))
        return found

    def rigid(self, matrix: Array, iterations: int) -> Array:
        """A rigid map near this one that is better at the coarsest level, or this one."""
        return self.better(matrix, self.ascend("coarse", matrix, "rigid", iterations))

    def mark(self, start: _Start, matrix: Array) -> float:
        """The similarity, a little less for what turns the body."""
        return self.mutual_information(matrix) * (UPRIGHT if start.turned else 1)

    def mutual_information(self, matrix: Array) -> float:
        """Mutual information over the whole fixed image, in nats."""
        return self.judge(transformed(self.judge.points, matrix))[0]

    def better(self, first: Array, other: Array) -> Array:
        """The other map where it clearly raises the mutual information of the first, else that."""
        return other if self.mutual_information(other) > self.mutual_information(first) * LEAST_GAIN else first

    def ascend(self, level: str, start: Array, model: TransformModel, iterations: int) -> Array:
        """Follow the mutual information at one level."""
        measure = self.information[level]
        return self._follow(lambda places: measure(places)[:2], measure.points, start, model, self.spacing, iterations)

    def sharpened(self, level: str, matrix: Array, least: float) -> Array:
        """A map near this one at which patches correlate better too, or this one.

        Mutual information alone is blunt; local correlation alone runs away where a crop cuts the anatomy.
        """
        measure, patches = self.information[level], self.patches[level]
        count = measure.points.shape[1]
        points = np.concatenate([measure.points, patches.points], axis=1)

        def objective(places: NDArray[np.float32]) -> tuple[float, NDArray[np.float32]]:
            value, slope, _ = measure(places[:, :count])
            other, other_slope = patches(places[:, count:])
            slopes = np.concatenate([slope, np.float32(CORRELATION) * other_slope], axis=1)
            return value + CORRELATION * other, slopes

        found = self._follow(objective, points, matrix, self.transform_models[-1], self.spacing / 2, 20)
        gained = objective(transformed(points, found))[0] > LEAST_GAIN * objective(transformed(points, matrix))[0]
        floor = max(least, (1 - MOST_LOST) * self.mutual_information(matrix))
        return found if gained and plausible(found) and self.mutual_information(found) >= floor else matrix

    def _follow(
        self,
        objective: Objective,
        points: NDArray[np.float32],
        start: Array,
        model: TransformModel,
        step: float,
        iterations: int,
    ) -> Array:
        return ascend(objective, points, start, model, self.centre, step, iterations, STIFFNESS)

    def _overlap(self, matrix: Array) -> float:
        share = self.judge(transformed(self.judge.points, matrix))[2]
        fixed, moving = (float(np.prod(image.extent)) for image in self.images)
        return float(share * fixed / min(fixed, moving * abs(1 / np.linalg.det(matrix[:3, :3]))))
