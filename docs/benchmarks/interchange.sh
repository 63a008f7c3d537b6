#!/usr/bin/env bash
# Transforms written here are applied by MRtrix and plastimatch, and theirs are read (Debian: mrtrix3, plastimatch).
# On the pair of tests/spatial/formats/scene.py: oblique, anisotropic, unequal grids. Prints the largest difference of the
# images, of a range of 100, away from the moving image's border; fails above 0.1.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$root"
PYTHONPATH="$root" python - "$work" <<'PY'
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.ndimage import binary_erosion
from tests.spatial.formats import scene

from morphseek_monai.spatial.files.transform_file import read_transform, write_transform

folder = Path(sys.argv[1])
scene.save_pair(folder)


def run(line: str) -> None:
    subprocess.run(line.split(), cwd=folder, check=True, capture_output=True)


def report(what: str, file: str, transform: object) -> None:
    theirs, ours = np.asarray(nib.load(folder / file).dataobj), scene.warped(transform)
    within = binary_erosion(ours > 0, iterations=2)
    difference = np.abs(theirs - ours)[within].max()
    print(f"{what}: {difference:.4f} of 100 in {within.sum()} voxels")
    assert within.mean() > 0.15 and difference < 0.1, what


linear, deformable = scene.linear(), scene.deformable()
write_transform(folder / "w.nii.gz", deformable, "mrtrix", scene.FIXED)
run("mrtransform moving.nii.gz -warp w.nii.gz -interp linear m1.nii -quiet")
report("mrtransform, a warp of ours", "m1.nii", deformable)
write_transform(folder / "a.txt", linear, "mrtrix")
run("mrtransform moving.nii.gz -linear a.txt -template fixed.nii.gz -interp linear -oversample 1 m2.nii -quiet")
report("mrtransform, a matrix of ours", "m2.nii", linear)
write_transform(folder / "u.nrrd", deformable, "itk-field", scene.FIXED)
warp = "plastimatch warp --input moving.nii.gz --fixed fixed.nii.gz --interpolation linear --output-type float"
run(f"{warp} --xf u.nrrd --output-img p1.nii.gz")
report("plastimatch, a field of ours", "p1.nii.gz", deformable)
write_transform(folder / "a.tfm", linear)
run(f"{warp} --xf a.tfm --output-img p2.nii.gz")
report("plastimatch, an affine of ours", "p2.nii.gz", linear)
for ending in ("mha", "nrrd", "nii.gz"):
    run(f"plastimatch xf-convert --input a.tfm --output-type vf --fixed fixed.nii.gz --output v.{ending}")
    report(f"a field of plastimatch, .{ending}, read here", "p2.nii.gz", read_transform(folder / f"v.{ending}"))
PY
