#!/usr/bin/env bash
# nitransforms 25.1: a FNIRT field (relative, FSL's millimetres along the image's own axes) is read as if those were the
# axes of the body: right for upright RAS and LAS images, silently wrong for oblique and sagittal ones. fslpy is right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet install nitransforms==25.1.0 fslpy==3.29.1 nibabel==5.4.2 scipy==1.15.3 numpy==2.3.5
cd "$work"
"$work/venv/bin/python" - <<'PY' 2>/dev/null
import nibabel as nib
import numpy as np
from fsl.data.image import Image
from fsl.transform import fnirt, nonlinear
from nitransforms.nonlinear import DenseFieldTransform

turn = np.deg2rad(20)
oblique = np.diag([2.0, 2, 2, 1])
oblique[:2, :2] = 2 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
sagittal = np.array([[0.0, 0, 2, 0], [-2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 0, 1]])
affines = {"RAS": np.diag([2.0, 2, 2, 1]), "LAS": np.diag([-2.0, 2, 2, 1]), "oblique": oblique, "sagittal": sagittal}
off = {}
for name, affine in affines.items():
    image = Image(nib.Nifti1Image(np.zeros((12, 14, 10), np.float32), affine))
    values = np.tile(np.float32([1, 2, 3]), (12, 14, 10, 1))
    field = nonlinear.DeformationField(values, image, image, header=image.header, defType="relative")
    fnirt.toFnirt(field).save("field.nii.gz")
    point = affine[:3] @ [5, 6, 4, 1]
    right = fnirt.readFnirt("field.nii.gz", image, image, defType="relative").transform(point, "world", "world") - point
    found = DenseFieldTransform.from_filename("field.nii.gz", fmt="fsl").map(point[None])[0] - point
    off[name] = np.linalg.norm(found - right)
    print(f"saw: {name}: fslpy moves by {right.round(2).tolist()} mm, nitransforms by {found.round(2).tolist()} mm")
assert max(off["RAS"], off["LAS"]) < 1e-3 and off["oblique"] > 0.7 and off["sagittal"] > 4, off
PY
