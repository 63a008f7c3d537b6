"""From two scans to the pair that the network sees: intensities, axes, alignment, grid."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morphseek_monai.base.errors import DataError
from morphseek_monai.inference.similarity import foreground
from morphseek_monai.registration.alignment.align import align
from morphseek_monai.registration.alignment.linear_map import TransformModel
from morphseek_monai.registration.models.model import RegistrationModel
from morphseek_monai.registration.prepare.initial import Initial
from morphseek_monai.registration.prepare.intensity import PreparedImage, prepare_intensity
from morphseek_monai.registration.prepare.mask import continued, foreground_of
from morphseek_monai.registration.prepare.network_grid import network_grid, own_axes
from morphseek_monai.registration.prepare.resample import View, as_tensor, mask_on, onto_grid, own_grid, view_on
from morphseek_monai.registration.prepare.scan_set import ScanSet
from morphseek_monai.space.grid import Grid
from morphseek_monai.space.image import Image, orient
from morphseek_monai.spatial.files.affine_file import read_affine
from morphseek_monai.spatial.point_map import PointMap

Affine = str | os.PathLike[str] | NDArray[np.float64] | Initial
SEARCHED: dict[str, TransformModel] = {"auto": "affine", "similarity": "similarity", "rigid": "rigid"}
ALIGNMENTS = (*SEARCHED, "off")  # what an affine may be beside a file


class NetworkPair(NamedTuple):
    """A pair on the network's grid.

    Attributes:
        image: ``(1, 2, D, H, W)``, moving and fixed, in [0, 1], as the network gets them.
        view: the moving scan where the registration starts: by ``affine``, or by ``initial``.
        aligned: the moving scan by the alignment.
        by_headers: the moving scan as its header places it.
        still: the fixed scan; the views have a channel per contrast.
        contrasts: of both scans on their own grids in the bundle's order of axes, the fixed first, RAS mm; the first
            contrast has the mask, what does not count is :func:`~.mask.continued`.
        mirrored: the moving image mirrored left to right and aligned likewise; None where the bundle names no mirror.
        grid: of both; affine -> RAS mm.
        affine: ``(4, 4)``, RAS mm, points of the fixed image -> points of the moving image.
        initial: the map that the registration starts from where it deforms, with ``affine`` for its linear part; None
            where ``affine`` is all of it.
        start: where the alignment came from, in words.
        fixed: its intensities.
        moving: its intensities.
        notices: remarks for the user.
    """

    image: Tensor
    view: View
    aligned: View
    by_headers: View
    still: View
    contrasts: tuple[Sequence[Image], Sequence[Image]]
    mirrored: View | None
    grid: Grid
    affine: NDArray[np.float64]
    initial: PointMap | None
    start: str
    fixed: PreparedImage
    moving: PreparedImage
    notices: tuple[str, ...]

    @property
    def oriented(self) -> tuple[Image, Image]:
        """The first contrast of both scans."""
        return self.contrasts[0][0], self.contrasts[1][0]

    @property
    def points(self) -> PointMap:
        """Points of the fixed image -> points of the moving image, RAS mm, where the registration starts."""
        return PointMap((self.affine,)) if self.initial is None else self.initial

    @property
    def begin(self) -> str:
        """Name of the stage that leads there."""
        return "affine" if self.initial is None else "initial"

    @property
    def foreground(self) -> Tensor:
        """The fixed scan's foreground that counts, ``(1, 1, D, H, W)`` bool."""
        return foreground(self.still.image[:, :1]) & (self.still.valid > 0.5)

    @property
    def masked(self) -> bool:
        """Whether a part of one scan does not count."""
        return any(image.mask is not None for image in self.oriented)

    def network_input(self, view: View) -> Tensor:
        """Moving and fixed, ``(1, 2, D, H, W)``; with masks black where either scan does not count, as after stripping.

        Args:
            view: of the moving scan.
        """
        moving, fixed = view.alone, self.still.image[:, :1]
        if self.masked:
            joint = view.valid * self.still.valid
            moving, fixed = moving * joint, fixed * joint
        return torch.cat([moving, fixed], dim=1)

    @property
    def scanned(self) -> tuple[slice, ...]:
        """The part of ``image`` that the fixed scan's field of view holds; the grid may reach beyond it."""
        into = np.linalg.solve(self.oriented[0].affine, self.grid.affine)
        part = [slice(None), slice(None)]
        for axis, n in enumerate(self.oriented[0].array.shape):
            where = into[axis, axis] * np.arange(self.grid.size[axis]) + into[axis, 3]
            inside = np.flatnonzero(np.abs(where - (n - 1) / 2) < n / 2 + 1e-6)
            part.append(slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(None))
        return tuple(part)


def pair_scans(
    fixed: ScanSet,
    moving: ScanSet,
    model: RegistrationModel,
    affine: Affine = "auto",
    modalities: tuple[str, str] = ("auto", "auto"),
    coarser: float = 1.0,
    seed: int = 0,
) -> NetworkPair:
    """Prepare two scans.

    Args:
        fixed: what stays.
        moving: what is brought to it, with the same contrasts. The alignment and the network see the first ones.
        model: the bundle that says how.
        affine: ``"auto"`` aligns by 12 parameters, ``"similarity"`` by 7, ``"rigid"`` by 6, ``"off"`` trusts the
            headers, a file, a ``(4, 4)`` matrix (RAS mm, fixed -> moving) or an initial map is taken as it is.
        modalities: of fixed and moving, ``"auto"``, ``"mr"`` or ``"ct"``.
        coarser: factor on the spacing of the network's grid, to save memory.
        seed: of the alignment's sampling.

    Raises:
        DataError: a modality that the bundle was not made for, a file that holds no affine, a mask without foreground.
    """
    values, fixed_images = _prepared(fixed, modalities[0], model, "fixed")
    moving_values, moving_images = _prepared(moving, modalities[1], model, "moving")
    axes = own_axes(fixed_images[0])
    fixed_along, moving_along = ([image.within(axes) for image in images] for images in (fixed_images, moving_images))
    foregrounds = [foreground_of(images[0]) for images in (fixed_images, moving_images)]
    grid = network_grid(fixed_along[0], foregrounds[0], model)
    if coarser > 1:
        grid = grid.coarsened(coarser, model.network.stride)

    still = _still(fixed_along, grid, model.device)
    fixed_image = still.image[0, 0].cpu().numpy()
    fixed_mask = None if fixed_along[0].mask is None else still.valid[0, 0].cpu().numpy()
    matrix, start, remarks = _alignment(
        affine, axes, fixed_image, fixed_mask, grid, moving_along[0], foregrounds[1], seed,
        (fixed.scan.grid, moving.scan.grid),
    )  # fmt: skip
    initial = affine.points if isinstance(affine, Initial) else None
    points = PointMap((matrix,)) if initial is None else PointMap((axes, *initial.maps, np.linalg.inv(axes)))
    aligned = view_on(moving_along, grid, points, model.device)
    mirrored = None
    if model.mirror_axis is not None:
        mirror = _mirror(grid, model.mirror_axis)
        if isinstance(affine, str) and affine in SEARCHED:
            # as good a chance for the mirrored image: aligned by itself, resampled once
            flipped, seen = (
                np.ascontiguousarray(np.flip(part[0, 0].cpu().numpy(), model.mirror_axis))
                for part in (aligned.alone, aligned.valid)
            )
            own = align(
                fixed_image, grid, flipped, grid, seed, model=SEARCHED[affine], fixed_mask=fixed_mask,
                moving_mask=None if moving_along[0].mask is None else seen, anywhere=False,
            )  # fmt: skip
            mirror = mirror @ own.matrix
        through = PointMap((matrix @ mirror,)) if initial is None else PointMap((mirror, *points.maps))
        mirrored = view_on(moving_along, grid, through, model.device)
    pair = NetworkPair(
        image=torch.empty(0),
        view=aligned,
        aligned=aligned,
        by_headers=view_on(moving_along, grid, PointMap((np.eye(4),)), model.device),
        still=still,
        contrasts=(fixed_images, moving_images),
        mirrored=mirrored,
        grid=Grid(grid.size, axes @ grid.affine),
        affine=axes @ matrix @ np.linalg.inv(axes),
        initial=initial,
        start=start,
        fixed=values,
        moving=moving_values,
        notices=(*values.notices, *moving_values.notices, *remarks),
    )
    return pair._replace(image=pair.network_input(aligned))


def _prepared(given: ScanSet, modality: str, model: RegistrationModel, role: str) -> tuple[PreparedImage, list[Image]]:
    """The first contrast's intensities, and all contrasts oriented, the first with the mask."""
    mask = given.mask
    where = None if mask is None or mask.array.all() else mask.array  # of which nothing is left out, none
    values = [prepare_intensity(array, modality, model, f"{role} image", where) for array in given.contrasts()]
    images = [continued(orient(one.array, given.scan.affine, model.orientation, where)) for one in values]
    if mask is not None and not foreground_of(images[0]).any():
        raise DataError(
            f"{role} mask {mask.name} shows nothing of the {role} image but background; 1 counts, 0 does not: is it"
            " inverted?"
        )
    return values[0], [images[0], *(image._replace(mask=None) for image in images[1:])]


def _still(images: Sequence[Image], grid: Grid, device: torch.device) -> View:
    """The fixed scan on the network's grid, dark beyond its field of view."""
    seen = [onto_grid(image, grid, np.eye(4)) for image in images]
    counts = mask_on(images[0], grid, np.eye(4))
    counts = np.ones(grid.size, np.float32) if counts is None else counts
    return View(as_tensor(*seen, device=device), as_tensor(counts, device=device))


def _mirror(grid: Grid, axis: int) -> NDArray[np.float64]:
    """Reflection at the middle plane of an upright grid, mm."""
    mirror = np.eye(4)
    mirror[axis, axis] = -1
    mirror[axis, 3] = 2 * grid.centre[axis]
    return mirror


def _alignment(
    affine: Affine,
    axes: NDArray[np.float64],
    fixed: NDArray[np.float32],
    mask: NDArray[np.float32] | None,
    grid: Grid,
    moving: Image,
    foreground: NDArray[np.bool_],
    seed: int,
    scanned: tuple[Grid, Grid],
) -> tuple[NDArray[np.float64], str, tuple[str, ...]]:
    """The affine in millimetres along the fixed image's axes, origin and remarks; ``scanned``: the scans' grids."""
    if isinstance(affine, str) and affine == "off":
        return np.eye(4), "off: the headers", ()
    if isinstance(affine, Initial):
        return np.linalg.inv(axes) @ affine.affine @ axes, affine.name, affine.notices
    if isinstance(affine, str) and affine in SEARCHED:
        own = own_grid(moving, foreground, grid.spacing)
        found = align(
            fixed, grid, onto_grid(moving, own, np.eye(4)), own, seed, model=SEARCHED[affine], fixed_mask=mask,
            moving_mask=mask_on(moving, own, np.eye(4)),
        )  # fmt: skip
        return found.matrix, f"{affine}, from {found.start}", found.notices
    if isinstance(affine, str | os.PathLike):
        world, start = read_affine(affine, *scanned), str(affine)
    else:
        world, start = np.asarray(affine, dtype=np.float64), "given"
        if world.shape != (4, 4) or not np.isfinite(world).all() or np.linalg.det(world[:3, :3]) <= 0:
            raise DataError(
                f"affine must be a (4, 4) matrix with positive determinant, RAS mm, got {world.tolist()}; correct it"
            )
    return np.linalg.inv(axes) @ world @ axes, start, ()
