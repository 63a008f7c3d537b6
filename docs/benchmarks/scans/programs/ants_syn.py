"""ANTs: affine and symmetric normalisation (SyN), by the package antspyx."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .program import Applied, main

PACKAGE = "antspyx"
SETTINGS = {
    "SyN": "type SyN as it comes: affine, then SyN, mutual information, 40x20x0 iterations (none at full size)",
    "SyNCC": "type SyNCC as it comes: rigid and affine, mutual information, then SyN, CC of radius 4, "
    "2100x1200x1200x20 iterations",
}


def register(fixed: str, moving: str, folder: Path, kind: str = "SyN") -> None:
    """Align and deform; the transforms are in the folder."""
    import ants

    images = [ants.image_read(path) for path in (fixed, moving)]
    ants.registration(*images, type_of_transform=kind, outprefix=f"{folder}/")


def apply(fixed: str, label: str, folder: Path) -> Applied:
    """Resample by ANTs, which also composes the field."""
    import ants

    reference, moving = ants.image_read(fixed), ants.image_read(label)
    transforms = [str(folder / name) for name in ("1Warp.nii.gz", "0GenericAffine.mat")]
    warped = ants.apply_transforms(reference, moving, transforms, interpolator="nearestNeighbor")
    composed = ants.apply_transforms(reference, moving, transforms, compose=f"{folder}/")
    return Applied(warped.numpy(), np.asarray(ants.image_read(composed).numpy()))


if __name__ == "__main__":
    main(register, apply)
