"""greedy: affine and diffeomorphic registration by local correlation, by the package picsl_greedy."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np

from .program import Applied, main

METRIC, ITERATIONS = "-m NCC 2x2x2", (100, 50, 10)
START = "-a -dof 12 -ia-image-centers"
LEAST = 4  # voxels that greedy's smoothing wants along every axis of every level; with fewer it ends in an error
PACKAGE = "picsl_greedy"
SETTINGS = (
    f"affine {START} {METRIC} -n 100x50x10, then {METRIC} -n 100x50x10 (-n 100x50 where a quarter is below 4 slices)"
)


def affine(greedy: Any, fixed: str, moving: str, folder: Path) -> Path:
    """Align; the matrix, RAS mm of the fixed to RAS mm of the moving scan, as a text file."""
    matrix = folder / "affine.mat"
    greedy.execute(f'{_options()} {START} {METRIC} -n {iterations(3)} -i "{fixed}" "{moving}" -o "{matrix}"')
    return matrix


def register(fixed: str, moving: str, folder: Path) -> None:
    """Align, then deform."""
    import picsl_greedy

    greedy = picsl_greedy.Greedy3D()
    matrix = affine(greedy, fixed, moving, folder)
    stage = f'{METRIC} -n {iterations(levels_of(size_of(fixed)))} -it "{matrix}"'
    greedy.execute(f'{_options()} {stage} -i "{fixed}" "{moving}" -o "{folder / "warp.nii.gz"}"')


def apply(fixed: str, label: str, folder: Path) -> Applied:
    """Resample by greedy, which also composes the field."""
    import nibabel as nib
    import picsl_greedy
    import SimpleITK as sitk

    warped, composed = folder / "warped.nii.gz", folder / "composed.nii.gz"
    transforms = f'-r "{folder / "warp.nii.gz"}" "{folder / "affine.mat"}"'
    command = f'-rf "{fixed}" -ri NN -rm "{label}" "{warped}" -rc "{composed}" {transforms}'
    picsl_greedy.Greedy3D().execute(f"{_options()} {command}")
    field = np.swapaxes(sitk.GetArrayFromImage(sitk.ReadImage(str(composed))), 0, 2)
    return Applied(np.asarray(nib.load(warped).dataobj), field)


def iterations(levels: int) -> str:
    """Greedy's notation of the iterations on so many levels."""
    return "x".join(str(n) for n in ITERATIONS[:levels])


def levels_of(size: list[int]) -> int:
    """Levels of which the coarsest has :data:`LEAST` voxels along every axis, at most three."""
    return next(n for n in (3, 2, 1) if n == 1 or -(-min(size) // 2 ** (n - 1)) >= LEAST)


def size_of(path: str) -> list[int]:
    """Size in the header of ``.nii.gz``, without the half second that importing NiBabel takes."""
    with gzip.open(path) as file:
        return np.frombuffer(file.read(48)[42:48], "<i2").tolist()


def _options() -> str:
    return f"-d 3 -V 0 -threads {os.environ.get('OMP_NUM_THREADS', '1')}"


if __name__ == "__main__":
    main(register, apply)
