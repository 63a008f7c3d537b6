"""Affine pre-alignment of two images: from several starts, rigid and then affine, from coarse to fine."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from morphseek_monai.data.grid import Grid
from morphseek_monai.registration.mutual_information import Volume, climb, mutual_information, sample

__all__ = ["Alignment", "align"]

Array = NDArray[np.float64]

# a head of 224 mm is seen at 8, 4 and 2 mm; a mouse or a torso at as many voxels
VOXELS_ALONG = 56
POINTS = 20000
NEARLY = 0.99  # of the best start's mutual information: as good as it; the headers then win over the other starts
LEAST_GAIN = 1.001  # less is interpolation and noise: images that are aligned already stay as they are
# beyond these, two images do not show the same part of two bodies
LEAST_SCALE, MOST_SCALE, MOST_SHEAR = 0.5, 2.0, 0.5


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
    fixed: NDArray[Any], fixed_grid: Grid, moving: NDArray[Any], moving_grid: Grid, seed: int = 0
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
    frame = _frame(fixed_grid)
    images = [
        Volume(array.astype(np.float32), np.linalg.inv(frame) @ grid.affine)
        for array, grid in ((fixed, fixed_grid), (moving, moving_grid))
    ]
    search = _Search(images[0], images[1], np.random.default_rng(seed))
    matrix, start, before, after, notices = search.run()
    return Alignment(frame @ matrix @ np.linalg.inv(frame), start, before, after, notices)


class _Search:
    """The search for one pair; matrices ``(4, 4)`` map fixed -> moving, in mm of the fixed grid's frame."""

    def __init__(self, fixed: Volume, moving: Volume, generator: np.random.Generator) -> None:
        longest = min(float((image.spacing * image.array.shape).max()) for image in (fixed, moving))
        spacing = longest / VOXELS_ALONG
        fine = (fixed.shrink(spacing / 2), moving.shrink(spacing / 2))
        middle = (fine[0].shrink(spacing), fine[1].shrink(spacing))
        coarse = (middle[0].shrink(spacing * 2), middle[1].shrink(spacing * 2))
        points = sample(middle[0], POINTS, generator)
        self.levels = {
            "coarse": _Level(*coarse, points[: POINTS // 4], spacing),
            "middle": _Level(*middle, points, spacing),
            "fine": _Level(*fine, points, spacing / 4),
        }
        self.centre = fixed.centre_of_mass
        self.radius = longest / 4
        shifts = {
            "headers": np.zeros(3),
            "centres of mass": moving.centre_of_mass - self.centre,
            "centres of the grids": moving.centre - fixed.centre,
        }
        self.starts = {name: _translation(shift) for name, shift in shifts.items()}

    def run(self) -> Alignment:
        before = self.similarity(np.eye(4))
        roughly = {name: self.pick(start, self.climb("rigid", "coarse", start)) for name, start in self.starts.items()}
        scores = {name: self.similarity(matrix) for name, matrix in roughly.items()}
        name = next(name for name in scores if scores[name] >= NEARLY * max(scores.values()))
        notices = []
        matrix = self.pick(roughly[name], self.climb("rigid", "middle", roughly[name]))
        affine = self.climb("affine", "middle", matrix)
        if affine is not None and not _plausible(affine):
            notices.append("the best affine scales or shears implausibly: the rigid alignment is used")
        elif affine is not None:
            matrix = self.pick(matrix, self.climb("affine", "fine", affine), affine)
        if (matrix == self.starts[name]).all():
            notices.append(f"no alignment raises the mutual information: the {name} are used as they are")
        return Alignment(matrix, name, before, self.similarity(matrix), tuple(notices))

    def similarity(self, matrix: Array) -> float:
        level = self.levels["middle"]
        return mutual_information(level.fixed, level.moving, matrix)

    def pick(self, first: Array, *others: Array | None) -> Array:
        """The earliest of the others that is plausible and raises the mutual information of ``first``, else that."""
        least = self.similarity(first) * LEAST_GAIN
        good = (other for other in others if other is not None and _plausible(other) and self.similarity(other) > least)
        return next(good, first)

    def climb(self, kind: Literal["rigid", "affine"], level: str, start: Array) -> Array | None:
        fixed, moving, points, step = self.levels[level]
        return climb(kind, fixed, moving, points, start, self.centre, self.radius, step)


class _Level(NamedTuple):
    """Both images at one resolution, the points where they are compared (mm), and the first step (mm)."""

    fixed: Volume
    moving: Volume
    points: Array
    step: float


def _frame(grid: Grid) -> Array:
    """The grid's own axes as a rigid map (perhaps with a reflection), frame -> RAS mm; origin in its centre.

    The nearest orthonormal axes in the least squares sense: they turn with the header, whatever its spacing and shear.
    """
    left, _, right = np.linalg.svd(grid.affine[:3, :3] / grid.spacing)
    frame = np.eye(4)
    frame[:3, :3] = left @ right
    frame[:3, 3] = grid.centre
    return frame


def _translation(shift: Array) -> Array:
    matrix = np.eye(4)
    matrix[:3, 3] = shift
    return matrix


def _plausible(matrix: Array) -> bool:
    linear = matrix[:3, :3]
    scales = np.linalg.svd(linear, compute_uv=False)
    if np.linalg.det(linear) <= 0 or scales.min() < LEAST_SCALE or scales.max() > MOST_SCALE:
        return False
    _, triangle = np.linalg.qr(linear)
    return bool(np.abs(np.triu(triangle / np.diag(triangle)[:, None], 1)).max() <= MOST_SHEAR)
