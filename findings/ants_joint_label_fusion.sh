#!/usr/bin/env bash
# ANTsPy 0.6.3: joint_label_fusion as it comes gives every voxel of the mask a structure; the background has no vote.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet install antspyx==0.6.3 numpy==2.3.5
ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS=1 "$work/venv/bin/python" - <<'PY'
import ants
import numpy as np

x, y, z = np.indices((24, 24, 24)) - 11.5
labels = np.zeros((24, 24, 24), np.uint32)
labels[(x + 3) ** 2 + y**2 + z**2 < 9] = 1  # two balls, side by side
labels[(x - 3) ** 2 + y**2 + z**2 < 9] = 2
noise = np.random.default_rng(0)


def scan():
    values = np.float32([10, 60, 100])[labels] + noise.normal(0, 2, labels.shape).astype(np.float32)
    return ants.from_numpy(values)


mask = np.zeros(labels.shape, np.float32)
mask[4:20, 4:20, 4:20] = 1  # with much background, on which all atlases agree
shares = {}
for option in (False, True):
    fused = ants.joint_label_fusion(
        scan(), ants.from_numpy(mask), [scan() for _ in range(3)],
        label_list=[ants.from_numpy(labels) for _ in range(3)], max_lab_plus_one=option,
    )["segmentation"].numpy()  # fmt: skip
    background = (mask > 0) & (labels == 0)
    shares[option] = float((fused[background] > 0).mean())
    print(f"saw: max_lab_plus_one={option}: {100 * shares[option]:.1f} % of the mask's background voxels get a structure")
assert shares[False] > 0.5 and shares[True] < 0.05
PY
