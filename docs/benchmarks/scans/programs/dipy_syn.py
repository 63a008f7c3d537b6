"""DIPY: centre of mass, translation, rigid, affine and symmetric diffeomorphic registration, by the package dipy."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np

from .program import Applied, main

PACKAGE = "dipy"
SETTINGS = (
    "affine_registration (centre of mass, translation, rigid, affine; mutual information) and syn_registration (CC of "
    "radius 4, 10x10x5 iterations) as they come (10x5 or 5 where coarser levels have fewer than 9 slices)"
)
ITERATIONS = [10, 10, 5]  # the default
LEAST = 9  # voxels that the metric wants along every axis of every level; with fewer it ends in an error


def register(fixed: str, moving: str, folder: Path) -> None:
    """Align and deform; the mapping is in the folder."""
    import nibabel as nib
    from dipy.align import affine_registration, syn_registration

    static, floating = nib.load(fixed), nib.load(moving)
    arrays = [image.get_fdata() for image in (floating, static)]
    grids = {"moving_affine": floating.affine, "static_affine": static.affine}
    _, affine = affine_registration(*arrays, **grids)
    smallest = min(min(image.shape) for image in arrays)
    levels = next(n for n in (3, 2, 1) if n == 1 or smallest // 2 ** (n - 1) >= LEAST)
    _, mapping = syn_registration(*arrays, **grids, prealign=affine, level_iters=ITERATIONS[-levels:])
    with open(folder / "mapping.pkl", "wb") as file:
        pickle.dump(mapping, file)


def apply(fixed: str, label: str, folder: Path) -> Applied:
    """Resample by DIPY, whose mapping moves ``x`` to ``A (x + u(x))`` in RAS mm: affine ``A``, field ``u``."""
    import nibabel as nib

    with open(folder / "mapping.pkl", "rb") as file:
        mapping = pickle.load(file)
    reference = nib.load(fixed)
    warped = mapping.transform(np.asarray(nib.load(label).dataobj).astype(np.float64), interpolation="nearest")
    points = nib.affines.apply_affine(reference.affine, np.moveaxis(np.indices(reference.shape), 0, -1))
    # DIPY returns the inverse of a mapping of the moving scan, so that what it calls prealign is the inverse of A
    moved = nib.affines.apply_affine(mapping.prealign_inv, points + mapping.get_forward_field())
    return Applied(warped, (moved - points) * [-1.0, -1.0, 1.0])


if __name__ == "__main__":
    main(register, apply)
