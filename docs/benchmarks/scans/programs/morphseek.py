"""Results of ``morphseek register``, which is run by its own command line: here they are only applied."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from .program import Applied, main
from .sitk import field_of

RESULT = "result"  # folder, in that of the run, that ``morphseek register --out`` writes


def register(fixed: str, moving: str, folder: Path, *options: str) -> None:
    """Refused: the command itself is what is measured."""
    raise NotImplementedError("run morphseek register instead")


def apply(fixed: str, label: str, folder: Path) -> Applied:
    """Resample by ``morphseek warp-image``; the field is read from ``transform.h5`` by SimpleITK."""
    import nibabel as nib
    import SimpleITK as sitk

    warped, result = folder / "warped.nii.gz", folder / RESULT
    command = [sys.executable, "-m", "morphseek_monai", "warp-image", "--image", label, "--out", str(warped)]
    subprocess.run([*command, "--registration", str(result), "--interpolation", "nearest"], check=True)
    return Applied(
        np.asarray(nib.load(warped).dataobj), field_of(fixed, sitk.ReadTransform(str(result / "transform.h5")))
    )


if __name__ == "__main__":
    main(register, apply)
