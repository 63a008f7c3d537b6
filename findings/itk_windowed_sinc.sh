#!/usr/bin/env bash
# ITK 5.4 (SimpleITK 2.5.7): windowed sinc interpolation of a constant image does not give the constant.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet install simpleitk==2.5.7 numpy==2.3.5
"$work/venv/bin/python" - <<'PY'
import numpy as np
import SimpleITK as sitk

image = sitk.GetImageFromArray(np.full((20, 20, 20), 1000.0, np.float32))
shift = sitk.TranslationTransform(3, (0.5, 0.5, 0.5))  # half a voxel
seen = {}
for name in ("Linear", "BSpline", "LanczosWindowedSinc", "HammingWindowedSinc", "BlackmanWindowedSinc"):
    warped = sitk.Resample(image, image, shift, getattr(sitk, f"sitk{name}"), 0.0)
    inner = sitk.GetArrayFromImage(warped)[6:14, 6:14, 6:14]
    assert np.ptp(inner) < 0.01
    seen[name] = float(inner.mean())
print("saw: 1000 everywhere, half a voxel on:", ", ".join(f"{name} {value:.1f}" for name, value in seen.items()))
assert abs(seen["Linear"] - 1000) < 0.01 and abs(seen["BSpline"] - 1000) < 0.01
assert seen["HammingWindowedSinc"] > 1010 and seen["LanczosWindowedSinc"] < 997 and seen["BlackmanWindowedSinc"] < 999
PY
