"""Affine pre-alignment of two images: from several starts, rigid to affine, from coarse to fine."""

from __future__ import annotations

from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from morphseek_monai.registration.alignment.affine_search import AffineSearch, FoundAffine
from morphseek_monai.registration.alignment.body import prepared, relative_size
from morphseek_monai.registration.alignment.linear_map import TransformModel
from morphseek_monai.space.grid import Grid
from morphseek_monai.space.image import Image

__all__ = ["Alignment", "TransformModel", "align", "unit_axes"]

Array = NDArray[np.float64]

THIN = 3  # slices: fewer say nothing of a stretch across them
UNLIKE = 2.5  # times as large: another body, or the header of one image has another unit
LEAST_OVERLAP = 0.25  # of the smaller image's body
LEAST_INFORMATION = 0.08  # nats: unrelated images have up to 0.03 by chance


class Alignment(NamedTuple):
    """What :func:`align` found.

    Attributes:
        matrix: ``(4, 4)`` float64, RAS mm; maps points of the fixed image to points of the moving image.
        start: what the search began with: ``"headers"`` (positions as the files state them), ``"centres of mass"``,
            ``"centres of the grids"`` (translations that bring these together), ``"shifts on a lattice"`` or
            ``"quarter turns"``.
        before: mutual information with the headers as they are, in nats per voxel of the fixed image.
        after: mutual information with ``matrix``; never less than ``before``.
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
    model: TransformModel = "affine",
    fixed_mask: NDArray[Any] | None = None,
    moving_mask: NDArray[Any] | None = None,
    anywhere: bool = True,
) -> Alignment:
    """Find the map that brings two images together: rigid, similarity, affine; from coarse to fine.

    The search starts from the headers, from the centres of mass, from the centres of the grids, and from the best
    shifts and turns by quarters of a full turn on a coarse lattice (:func:`~.lattice_search.candidates`), whichever
    leads to the highest mutual information; the headers win where they are as good, and a turned body must be better by
    a tenth. Then L-BFGS follows the mutual information, at last together with the squared local correlation of patches.
    The information is counted over *all* of the fixed image, and what lies beyond the moving image adds none: little
    overlap does not win, and nothing unseen is taken for air. A step is kept only if it raises what it follows, scales
    by 0.5 to 2 and shears by at most 0.5; otherwise the step before it is the result, and ``notices`` say so.
    Everything is computed in the fixed grid's own axes, in units of the images' size: a rotation of both headers
    rotates the result, another unit scales it, and nothing else changes.

    Args:
        fixed: ``(X, Y, Z)``, intensities of any range, background of any value. About 2 mm are enough for a head. A
            border of one value that the rest does not have counts as not seen.
        fixed_grid: of ``fixed``; axes may be oblique, anisotropic or sheared.
        moving: ``(X', Y', Z')``, alike; of the same or another modality.
        moving_grid: of ``moving``.
        seed: of the points where the images are compared. Same arguments, same bits, whatever the number of threads.
        model: ``"rigid"`` (6 parameters), ``"similarity"`` (7, one scale) or ``"affine"`` (12). Images of fewer than
            three slices are aligned rigidly, and a notice says so.
        fixed_mask: ``(X, Y, Z)``, bool or in [0, 1], where ``fixed`` is valid; default everywhere.
        moving_mask: ``(X', Y', Z')``, the same for ``moving``.
        anywhere: False for images that lie on each other roughly: the search starts from the headers alone.

    Returns:
        the alignment. Images without contrast or with values that are not finite leave the headers as they are.

    Raises:
        ValueError: an array or a mask does not have the size of its grid, or there is no such model.

    Example:
        >>> x, y, z = np.indices((32, 32, 32)) - 15.5
        >>> head = (x**2 / 144 + y**2 / 100 + z**2 / 64 < 1).astype(np.float32)
        >>> grid = Grid((32, 32, 32), np.diag([4.0, 4.0, 4.0, 1.0]))
        >>> far = Grid((32, 32, 32), grid.affine + np.array([[0.0, 0, 0, 300], [0] * 4, [0] * 4, [0] * 4]))
        >>> found = align(head, grid, head, far)
        >>> found.start, float(found.matrix[0, 3].round(1))
        ('centres of mass', 300.0)
    """
    if model not in get_args(TransformModel):
        raise ValueError(f"align() 'model' must be one of {', '.join(get_args(TransformModel))}, got {model!r}")
    given = (("fixed", fixed, fixed_grid, fixed_mask), ("moving", moving, moving_grid, moving_mask))
    for name, array, grid, mask in given:
        for what, values in ((name, array), (f"{name}_mask", mask)):
            if values is not None and values.shape != tuple(grid.size):
                raise ValueError(
                    f"align() {what!r} must have the size of its grid, {tuple(grid.size)}, got {values.shape}"
                )
        seen = array if mask is None else array[mask > 0]
        if not np.isfinite(array).all() or seen.size == 0 or np.ptp(seen) == 0:
            notice = f"the {name} image has no contrast to align by: the headers are used as they are"
            return Alignment(np.eye(4), "headers", 0.0, 0.0, (notice,))
    notices = []
    slices = min(*fixed.shape, *moving.shape)
    if slices < THIN and model != "rigid":
        notices.append(f"one image has {slices} slice{'s' * (slices > 1)}: a rigid alignment is all that they tell")
        model = "rigid"
    axes = unit_axes(fixed_grid, moving_grid)
    images = [prepared(array, np.linalg.inv(axes) @ grid.affine, mask) for _, array, grid, mask in given]
    found = AffineSearch(images[0], images[1], model, np.random.default_rng(seed), anywhere).run()
    notices += [*found.notices, *_doubts(images[0], images[1], found)]
    matrix = np.eye(4) if (found.matrix == np.eye(4)).all() else axes @ found.matrix @ np.linalg.inv(axes)
    return Alignment(matrix, found.start, found.before, found.after, tuple(notices))


def _doubts(fixed: Image, moving: Image, found: FoundAffine) -> list[str]:
    """What the user should look at."""
    doubts = []
    size = relative_size(fixed, moving)
    if not 1 / UNLIKE < size < UNLIKE:
        times = f"{size:.3g} times as large as" if size > 1 else f"{1 / size:.3g} times as small as"
        doubts.append(f"the body in the moving image is {times} that in the fixed one: check the voxel sizes")
    if found.turned:
        doubts.append("the moving image fits turned by 90 or 180 degrees only: check the axes in its header")
    if found.after < LEAST_INFORMATION:
        doubts.append(f"the images tell little of each other ({found.after:.2f} nats): check that they show the same")
    elif found.overlap < LEAST_OVERLAP:
        doubts.append(f"only {100 * found.overlap:.0f} % of the smaller image lie in the other: check the result")
    return doubts


def unit_axes(grid: Grid, other: Grid) -> Array:
    """The grid's own axes as a map to RAS mm, perhaps with a reflection; origin in its centre.

    The nearest orthonormal axes in the least squares sense: they turn with the header, whatever its spacing and shear.
    The unit is a quarter of the smaller image, about the radius of the body: no length in mm means anything here.
    """
    axes = np.eye(4)
    axes[:3, :3] = grid.axes * min(float((one.spacing * one.size).max()) for one in (grid, other)) / 4
    axes[:3, 3] = grid.centre
    return axes
