"""convexAdam: coupled convex optimisation and Adam on MIND features, by the package convexAdam.

It wants both scans on one grid and has no affine stage of its own: greedy aligns and resamples first.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from . import greedy
from .program import Applied, main

PACKAGE = "convexAdam"
SETTINGS = (
    "greedy's affine, then MIND, defaults: grid 6, displacements of 4, inverse consistency, 80 iterations at 1/2, "
    "float32"
)


def register(fixed: str, moving: str, folder: Path) -> None:
    """Align, resample, deform; the field in voxels of the fixed grid is in the folder."""
    import nibabel as nib
    import picsl_greedy
    import torch
    from convexAdam.convex_adam_MIND import convex_adam_pt

    aligned, program = folder / "aligned.nii.gz", picsl_greedy.Greedy3D()
    matrix = greedy.affine(program, fixed, moving, folder)
    program.execute(f'-d 3 -V 0 -rf "{fixed}" -rm "{moving}" "{aligned}" -r "{matrix}"')
    field = convex_adam_pt(nib.load(fixed), nib.load(aligned), dtype=torch.float32, device=torch.device("cpu"))
    np.save(folder / "voxels.npy", field)


def apply(fixed: str, label: str, folder: Path) -> Applied:
    """Look up the label of the nearest voxel: the package's own function interpolates linearly only."""
    import nibabel as nib
    from scipy.ndimage import map_coordinates

    reference, moving = nib.load(fixed), nib.load(label)
    places = np.indices(reference.shape).reshape(3, -1)
    voxels = places + np.load(folder / "voxels.npy").transpose(3, 0, 1, 2).reshape(3, -1)
    start, matrix = reference.affine, np.loadtxt(folder / "affine.mat") @ reference.affine
    points = matrix[:3, :3] @ voxels + matrix[:3, 3:]  # RAS mm in the moving scan
    displacement = (points - start[:3, :3] @ places - start[:3, 3:]) * [[-1.0], [-1.0], [1.0]]
    inverse = np.linalg.inv(moving.affine)
    warped = map_coordinates(np.asarray(moving.dataobj), inverse[:3, :3] @ points + inverse[:3, 3:], order=0)
    return Applied(warped.reshape(reference.shape), displacement.T.reshape(*reference.shape, 3))


if __name__ == "__main__":
    main(register, apply)
