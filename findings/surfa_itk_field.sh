#!/usr/bin/env bash
# surfa 0.6.3: load_warp takes a displacement field image of ITK (ANTs, greedy, SimpleITK; NIfTI intent 1007, LPS mm) for
# displacements in voxels, without a word. Here 6 mm to the right are a shift by 6 voxels of 2 mm to the left.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet install surfa==0.6.3 SimpleITK==2.5.7 nibabel==5.4.2 numpy==2.3.5
cd "$work"
"$work/venv/bin/python" - <<'PY'
import numpy as np
import SimpleITK as sitk
import surfa

image = np.zeros((20, 20, 20), np.float32)
image[10, 10, 10] = 1
affine = np.diag([2.0, 2, 2, 1])
values = np.zeros((20, 20, 20, 3))
values[..., 0] = -6  # to the right, in LPS
field = sitk.GetImageFromArray(values, isVector=True)
field.SetSpacing((2.0, 2.0, 2.0))
field.SetDirection((-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0))  # of the affine above
sitk.WriteImage(sitk.Cast(field, sitk.sitkVectorFloat32), "field.nii.gz")

scan = sitk.GetImageFromArray(image)
scan.CopyInformation(field)
moved = sitk.Resample(scan, scan, sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64)))
itk = np.argwhere(sitk.GetArrayFromImage(moved).transpose(2, 1, 0) > 0.5)[0]
geometry = surfa.ImageGeometry(shape=image.shape, voxsize=2.0, vox2world=affine)
warp = surfa.load_warp("field.nii.gz")
warp.source = geometry
found = np.argwhere(warp.transform(surfa.Volume(image, geometry=geometry)).data.squeeze() > 0.5)[0]
print(f"saw: the voxel (10, 10, 10) comes to {tuple(itk.tolist())} in SimpleITK, to {tuple(found.tolist())} in surfa")
assert itk.tolist() == [7, 10, 10] and found.tolist() == [16, 10, 10], (itk, found)
PY
