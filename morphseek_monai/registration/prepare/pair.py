"""From two scans to the pair that the network sees: intensities, axes, alignment, grid."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morphseek_monai.base.errors import DataError
from morphseek_monai.data.scans.scan import Scan
from morphseek_monai.inference.similarity import FOREGROUND
from morphseek_monai.registration.alignment.align import align
from morphseek_monai.registration.alignment.linear_map import TransformModel
from morphseek_monai.registration.models.model import RegistrationModel
from morphseek_monai.registration.prepare.intensity import PreparedImage, prepare_intensity
from morphseek_monai.registration.prepare.network_grid import network_grid, own_axes
from morphseek_monai.registration.prepare.resample import View, as_tensor, onto_grid, own_grid, view_on
from morphseek_monai.space.grid import Grid
from morphseek_monai.space.image import Image, orient
from morphseek_monai.spatial.files.affine_file import read_affine

Affine = str | os.PathLike[str] | NDArray[np.float64]
SEARCHED: dict[str, TransformModel] = {"auto": "affine", "similarity": "similarity", "rigid": "rigid"}
ALIGNMENTS = (*SEARCHED, "off")  # what an affine may be beside a file


class NetworkPair(NamedTuple):
    """A pair on the network's grid.

    Attributes:
        image: ``(1, 2, D, H, W)``, moving and fixed, in [0, 1], as the network gets them.
        view: the moving image where ``affine`` places it.
        aligned: the moving image by the alignment.
        by_headers: the moving image as its header places it.
        oriented: both images on their own grids in the bundle's order of axes, fixed first, RAS mm.
        mirrored: the moving image mirrored left to right and aligned likewise; None where the bundle names no mirror.
        grid: of both; affine -> RAS mm.
        affine: ``(4, 4)``, RAS mm, points of the fixed image -> points of the moving image.
        start: where the alignment came from, in words.
        fixed: its intensities.
        moving: its intensities.
        notices: remarks for the user.
    """

    image: Tensor
    view: View
    aligned: View
    by_headers: View
    oriented: tuple[Image, Image]
    mirrored: View | None
    grid: Grid
    affine: NDArray[np.float64]
    start: str
    fixed: PreparedImage
    moving: PreparedImage
    notices: tuple[str, ...]

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
    fixed: Scan,
    moving: Scan,
    model: RegistrationModel,
    affine: Affine = "auto",
    modalities: tuple[str, str] = ("auto", "auto"),
    coarser: float = 1.0,
    seed: int = 0,
) -> NetworkPair:
    """Prepare two scans.

    Args:
        fixed: the image that stays.
        moving: the image that is brought to it.
        model: the bundle that says how.
        affine: ``"auto"`` aligns by 12 parameters, ``"similarity"`` by 7, ``"rigid"`` by 6, ``"off"`` trusts the
            headers, a file or a ``(4, 4)`` matrix (RAS mm, fixed -> moving)
            is taken as it is.
        modalities: of fixed and moving, ``"auto"``, ``"mr"`` or ``"ct"``.
        coarser: factor on the spacing of the network's grid, to save memory.
        seed: of the alignment's sampling.

    Raises:
        DataError: a modality that the bundle was not made for, a file that holds no affine.
    """
    values = prepare_intensity(fixed.array, modalities[0], model, "fixed image")
    moving_values = prepare_intensity(moving.array, modalities[1], model, "moving image")
    oriented = [
        orient(prepared.array, scan.affine, model.orientation)
        for prepared, scan in ((values, fixed), (moving_values, moving))
    ]
    axes = own_axes(oriented[0])
    fixed_along, moving_along = (image.within(axes) for image in oriented)
    foregrounds = [image.array > FOREGROUND for image in oriented]
    grid = network_grid(fixed_along, foregrounds[0], model)
    if coarser > 1:
        grid = grid.coarsened(coarser, model.network.stride)

    fixed_image = onto_grid(fixed_along, grid, np.eye(4))
    matrix, start, remarks = _alignment(
        affine, axes, fixed_image, grid, moving_along, foregrounds[1], seed, (fixed.grid, moving.grid)
    )
    aligned = view_on(moving_along, grid, matrix, model.device)
    mirrored = None
    if model.mirror_axis is not None:
        mirror = _mirror(grid, model.mirror_axis)
        if isinstance(affine, str) and affine in SEARCHED:
            # as good a chance for the mirrored image: aligned by itself, resampled once
            flipped = np.flip(aligned.alone[0, 0].cpu().numpy(), model.mirror_axis)
            mirror = mirror @ align(
                fixed_image, grid, np.ascontiguousarray(flipped), grid, seed, model=SEARCHED[affine], anywhere=False
            ).matrix
        mirrored = view_on(moving_along, grid, matrix @ mirror, model.device)
    return NetworkPair(
        image=torch.cat([aligned.alone, as_tensor(fixed_image, device=model.device)], dim=1),
        view=aligned,
        aligned=aligned,
        by_headers=view_on(moving_along, grid, np.eye(4), model.device),
        oriented=(oriented[0], oriented[1]),
        mirrored=mirrored,
        grid=Grid(grid.size, axes @ grid.affine),
        affine=axes @ matrix @ np.linalg.inv(axes),
        start=start,
        fixed=values,
        moving=moving_values,
        notices=(*values.notices, *moving_values.notices, *remarks),
    )


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
    grid: Grid,
    moving: Image,
    foreground: NDArray[np.bool_],
    seed: int,
    scanned: tuple[Grid, Grid],
) -> tuple[NDArray[np.float64], str, tuple[str, ...]]:
    """The affine in millimetres along the fixed image's axes, origin and remarks; ``scanned``: the scans' grids."""
    if isinstance(affine, str) and affine == "off":
        return np.eye(4), "off: the headers", ()
    if isinstance(affine, str) and affine in SEARCHED:
        own = own_grid(moving, foreground, grid.spacing)
        found = align(fixed, grid, onto_grid(moving, own, np.eye(4)), own, seed, model=SEARCHED[affine])
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
