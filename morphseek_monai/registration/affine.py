"""Affine pre-alignment of two images: from several starts, rigid and then affine, from coarse to fine."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from morphseek_monai.data.grid import Grid
from morphseek_monai.registration.lattice_search import candidates
from morphseek_monai.registration.linear_map import Model, ascend, plausible, translation
from morphseek_monai.registration.mutual_information import MutualInformation
from morphseek_monai.registration.volume import Volume, combine

__all__ = ["Alignment", "align"]

Array = NDArray[np.float64]

# a head of 224 mm is seen at 8, 4 and 2 mm; a mouse or a torso at as many voxels
VOXELS_ALONG = 56
POINTS = {"coarse": 4000, "middle": 10000, "fine": 20000}
MODELS: tuple[Model, ...] = ("rigid", "similarity", "affine")
NEARLY = 0.99  # of the best start's mutual information: as good as it; the headers then win over the other starts
UPRIGHT = 0.9  # the same for a start that turns the body: rarely is a header that wrong, often a body that symmetric
LEAST_GAIN = 1.001  # less is interpolation and noise: images that are aligned already stay as they are
TRIED = 6  # ways of laying the images on each other that are looked at closely
# voxels around the body that are compared too: without them nothing holds its surface in place; all of the air
# around it would count the surface alone (labels of brains overlap less then)
MARGIN = 2


class Alignment(NamedTuple):
    """What :func:`align` found.

    Attributes:
        matrix: ``(4, 4)`` float64, RAS mm; maps points of the fixed image to points of the moving image.
        start: what the search began with: ``"headers"`` (positions as the files state them), ``"centres of mass"`` or
            ``"centres of the grids"`` (translations that bring these together).
        before: mutual information with the headers as they are, in nats.
        after: mutual information with ``matrix``, in nats; never less than ``before``.
        notices: remarks for the user.
    """

    matrix: Array
    start: str
    before: float
    after: float
    notices: tuple[str, ...]


def align(
    fixed: NDArray[Any],
    fixed_grid: Grid,
    moving: NDArray[Any],
    moving_grid: Grid,
    seed: int = 0,
    *,
    model: Model = "affine",
    fixed_mask: NDArray[Any] | None = None,
    moving_mask: NDArray[Any] | None = None,
) -> Alignment:
    """Find the affine map that brings two images together: rigid first, then affine, from coarse to fine.

    The search starts from the headers, from the centres of mass and from the centres of the grids, whichever leads to
    the higher mutual information. A result is kept only if it raises the mutual information over *all* voxels of the
    fixed image (those beyond the moving image count as air, else little overlap would win), scales by 0.5 to 2 and
    shears by at most 0.5; otherwise the step before it is the result, and ``notices`` say so. Everything is computed in
    the fixed grid's own axes: a rotation of both headers rotates the result and changes nothing else.

    Args:
        fixed: ``(X, Y, Z)``, air near 0 and everything within [0, 1]. About 2 mm are enough for a head.
        fixed_grid: of ``fixed``; axes may be oblique, anisotropic or sheared.
        moving: ``(X', Y', Z')``, alike; of the same or another modality.
        moving_grid: of ``moving``.
        seed: of the offset of the lattice on which the images are compared. Same arguments, same bits, whatever the
            number of threads.

    Returns:
        the alignment. Images without contrast or with values that are not finite leave the headers as they are.

    Raises:
        ValueError: an array does not have the size of its grid.

    Example:
        >>> x, y, z = np.indices((32, 32, 32)) - 15.5
        >>> head = (x**2 / 144 + y**2 / 100 + z**2 / 64 < 1).astype(np.float32)
        >>> grid = Grid((32, 32, 32), np.diag([4.0, 4.0, 4.0, 1.0]))
        >>> far = Grid((32, 32, 32), grid.affine + np.array([[0.0, 0, 0, 300], [0] * 4, [0] * 4, [0] * 4]))
        >>> found = align(head, grid, head, far)
        >>> found.start, float(found.matrix[0, 3].round(1))
        ('centres of mass', 300.0)
    """
    for name, array, grid in (("fixed", fixed, fixed_grid), ("moving", moving, moving_grid)):
        if array.shape != tuple(grid.size):
            raise ValueError(f"align() {name!r} must have the size of its grid, {tuple(grid.size)}, got {array.shape}")
        if not np.isfinite(array).all() or np.ptp(array) == 0:
            notice = f"the {name} image has no contrast to align by: the headers are used as they are"
            return Alignment(np.eye(4), "headers", 0.0, 0.0, (notice,))
    frame = _frame(fixed_grid, moving_grid)
    images = [
        _prepared(array, np.linalg.inv(frame) @ grid.affine, mask)
        for array, grid, mask in ((fixed, fixed_grid, fixed_mask), (moving, moving_grid, moving_mask))
    ]
    search = _Search(images[0], images[1], model, np.random.default_rng(seed))
    found = search.run()
    return found._replace(matrix=frame @ found.matrix @ np.linalg.inv(frame))


class _Search:
    """The search for one pair; matrices ``(4, 4)`` map fixed -> moving, in the fixed grid's frame."""

    def __init__(self, fixed: Volume, moving: Volume, model: Model, generator: np.random.Generator) -> None:
        self.model = model
        spacing = 4 / VOXELS_ALONG
        fine = (fixed.shrink(spacing / 2), moving.shrink(spacing / 2))
        middle = (fine[0].shrink(spacing), fine[1].shrink(spacing))
        coarse = (middle[0].shrink(spacing * 2), middle[1].shrink(spacing * 2))
        self.levels = {}
        for name, pair in (("coarse", coarse), ("middle", middle), ("fine", fine)):
            self.levels[name] = MutualInformation(*pair, sample(pair[0], POINTS[name], generator))
        self.whole = MutualInformation(*middle, sample(middle[0], POINTS["fine"], generator, everywhere=True))
        self.images = middle
        points = self.levels["middle"].points
        self.centre = points.mean(1, dtype=np.float64)
        self.step = spacing

    def run(self) -> Alignment:
        before = self.similarity(np.eye(4))
        starts = self.starts()
        roughly = [
            (name, turned, self.pick(start, self.ascend("rigid", "coarse", start, 30)))
            for name, turned, start in starts
        ]
        scores = [self.similarity(matrix) * (UPRIGHT if turned else 1) for _, turned, matrix in roughly]
        best = next(i for i, score in enumerate(scores) if score >= NEARLY * max(scores))
        name, _, matrix = roughly[best]
        notices = []
        for model in MODELS[: MODELS.index(self.model) + 1]:
            level = "middle" if model != self.model else "middle"
            better = self.ascend(model, level, matrix, 40)
            if not plausible(better):
                notices.append(f"the best {model} map scales or shears implausibly: the step before it is used")
                break
            matrix = self.pick(matrix, better)
        better = self.ascend(self.model, "fine", matrix, 20)
        if plausible(better):
            matrix = self.pick(matrix, better)
        if (matrix == starts[best][2]).all():
            notices.append(f"no alignment raises the mutual information: the {name} are used as they are")
        return Alignment(matrix, name, before, self.similarity(matrix), tuple(notices))

    def starts(self) -> list[tuple[str, bool, Array]]:
        fixed, moving = self.images
        shifts = {
            "headers": np.zeros(3),
            "centres of mass": _centre_of_mass(moving) - _centre_of_mass(fixed),
            "centres of the grids": moving.centre - fixed.centre,
        }
        found = [(name, False, translation(shift)) for name, shift in shifts.items()]
        for candidate in candidates(fixed, moving, TRIED):
            found.append(("turned by quarters" if candidate.turned else "lattice", candidate.turned, candidate.matrix))
        return found

    def similarity(self, matrix: Array) -> float:
        places = combine(matrix.astype(np.float32), self.whole.points) + matrix[:3, 3:].astype(np.float32)
        return self.whole(places)[0]

    def pick(self, first: Array, *others: Array) -> Array:
        """The earliest of the others that is plausible and raises the mutual information of ``first``, else that."""
        least = self.similarity(first) * LEAST_GAIN
        good = (other for other in others if plausible(other) and self.similarity(other) > least)
        return next(good, first)

    def ascend(self, model: Model, level: str, start: Array, iterations: int) -> Array:
        measure = self.levels[level]

        def objective(places: Array) -> tuple[float, Array]:
            return measure(places)[:2]

        return ascend(objective, measure.points, start, model, self.centre, self.step, iterations, STIFFNESS)


STIFFNESS = 1.0


def _prepared(array: NDArray[Any], affine: Array, mask: NDArray[Any] | None) -> Volume:
    """Intensities within [0, 1] from the darkest to the brightest, but for outliers."""
    seen = array if mask is None else array[np.asarray(mask) > 0]
    low, high = np.percentile(seen, [0.1, 99.9])
    if high <= low:
        low, high = float(seen.min()), float(seen.max())
    scaled = ((array - low) / max(high - low, 1e-30)).clip(0, 1).astype(np.float32)
    return Volume(scaled, affine, None if mask is None else np.asarray(mask, dtype=np.float32))


def sample(volume: Volume, count: int, generator: np.random.Generator, everywhere: bool = False) -> Array:
    """Random points ``(N, 3)`` in the body and close to its surface.

    Every point lies somewhere in its voxel: on the voxels themselves the values would be sharper than the interpolated
    ones of another image, and mutual information would rather keep two equal grids on each other than two heads.

    Args:
        volume: the image. Its body is what is brighter than a quarter of its own mean, with all that this encloses.
        count: how many, from as many voxels; all voxels of the body where they are fewer.
        generator: of everything random.
    """
    near = (
        np.ones(volume.array.shape, bool)
        if everywhere
        else ndimage.binary_dilation(ndimage.binary_fill_holes(_body(volume)), iterations=MARGIN)
    )
    if volume.mask is not None:
        near &= volume.mask > 0.5
    voxels = generator.permutation(np.argwhere(near))[:count]
    places = volume.position(voxels + generator.uniform(-0.5, 0.5, voxels.shape))
    return np.ascontiguousarray(places.T, dtype=np.float32)


def _mass(volume: Volume) -> NDArray[np.float32]:
    """How far each voxel is from the background, the median of the image's outermost voxels."""
    array = volume.array
    outer = np.concatenate([array.take(end, axis).ravel() for axis in range(3) for end in (0, -1)])
    mass = np.abs(array - np.median(outer))
    return mass if volume.mask is None else mass * volume.mask


def _body(volume: Volume) -> NDArray[np.bool_]:
    mass = _mass(volume)
    return mass > mass[mass > mass.mean() / 8].mean() / 4


def _centre_of_mass(volume: Volume) -> Array:
    return volume.position(np.array(ndimage.center_of_mass(_mass(volume))))


def _frame(grid: Grid, other: Grid) -> Array:
    """The grid's own axes as a map (perhaps with a reflection), frame -> RAS mm; origin in its centre.

    The nearest orthonormal axes in the least squares sense: they turn with the header, whatever its spacing and shear.
    The unit is a quarter of the smaller image, about the radius of the body: no length in mm means anything here.
    """
    left, _, right = np.linalg.svd(grid.affine[:3, :3] / grid.spacing)
    frame = np.eye(4)
    frame[:3, :3] = left @ right * min(float((g.spacing * g.size).max()) for g in (grid, other)) / 4
    frame[:3, 3] = grid.centre
    return frame
