#!/usr/bin/env bash
# dipy 1.12: after a registration, DiffeomorphicMap.prealign is the inverse of the matrix that was given as prealign.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet install dipy==1.12.1 numpy==2.3.5
"$work/venv/bin/python" - <<'PY'
import numpy as np
from dipy.align.imwarp import SymmetricDiffeomorphicRegistration
from dipy.align.metrics import SSDMetric

places = np.indices((24, 24, 24)) - 11.5
static = np.exp(-(places**2).sum(0) / 30)
moving = np.exp(-((places - np.array([5, 0, 0]).reshape(3, 1, 1, 1)) ** 2).sum(0) / 30)
given = np.eye(4)
given[0, 3] = 5.0  # points of the static to points of the moving image
grid = {"static_grid2world": np.eye(4), "moving_grid2world": np.eye(4)}
found = SymmetricDiffeomorphicRegistration(SSDMetric(3), level_iters=[1]).optimize(
    static, moving, prealign=given, **grid
)
alike = np.corrcoef(found.transform(moving).ravel(), static.ravel())[0, 1]
print(f"saw: the given matrix is right (correlation {alike:.3f} after it); given {given[0, 3]:+g} along x,")
print(f"     prealign {found.prealign[0, 3]:+g}, prealign_inv {found.prealign_inv[0, 3]:+g}")
assert alike > 0.95 and np.allclose(found.prealign, np.linalg.inv(given)) and np.allclose(found.prealign_inv, given)
PY
