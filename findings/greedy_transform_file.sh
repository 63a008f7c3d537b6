#!/usr/bin/env bash
# greedy 1.4: reslicing with an ITK transform file is silently wrong for HDF5 (one plane everywhere) and for a composite
# in text (the identity); a plain affine in text is right. SimpleITK applies all four alike: a shift by two voxels.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet install picsl_greedy==1.4.0.3 SimpleITK==2.5.7 nibabel==5.4.2 scipy==1.15.3 numpy==2.3.5
cd "$work"
"$work/venv/bin/python" - <<'PY'
import subprocess
import sys

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter

image = gaussian_filter(np.random.default_rng(0).random((40, 36, 32)), 2).astype(np.float32)
image = 100 * (image - image.min()) / np.ptp(image)
nib.save(nib.Nifti1Image(image, np.diag([2.0, 2, 2, 1])), "image.nii.gz")
scan, shift = sitk.ReadImage("image.nii.gz"), sitk.AffineTransform(3)
shift.SetTranslation((4.0, 0, 0))
composite = sitk.CompositeTransform([shift])
for name in ("plain", "composite"):
    for ending in ("tfm", "h5"):
        sitk.WriteTransform(shift if name == "plain" else composite, f"{name}.{ending}")

inner, saw = (slice(5, -5),) * 3, {}
for file in ("plain.tfm", "composite.tfm", "plain.h5", "composite.h5"):
    line = f"-rf image.nii.gz -ri LINEAR -rm image.nii.gz out.nii.gz -r {file}"
    program = "import sys; from picsl_greedy import Greedy3D; Greedy3D().execute(sys.argv[1])"
    subprocess.run([sys.executable, "-c", program, line], check=True, capture_output=True)
    found = np.asarray(nib.load("out.nii.gz").dataobj)[inner]
    right = sitk.GetArrayFromImage(sitk.Resample(scan, scan, sitk.ReadTransform(file))).transpose(2, 1, 0)[inner]
    saw[file] = (
        "right" if np.abs(found - right).max() < 0.1
        else "the image unmoved" if np.abs(found - image[inner]).max() < 0.1
        else "one plane everywhere" if np.ptp(found, axis=0).max() < 0.1
        else "something else"
    )
    print(f"saw: -r {file}: exit code 0, {saw[file]}")
wanted = ["right", "the image unmoved", "one plane everywhere", "one plane everywhere"]
assert list(saw.values()) == wanted, saw
PY
