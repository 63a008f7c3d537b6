#!/usr/bin/env bash
# MONAI 1.6.1: HausdorffDistanceMetric forgets a structure that the prediction has lost, or calls it a perfect match.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet install torch==2.13.0
"$work/venv/bin/pip" --quiet install monai==1.6.1 scipy==1.16.3
"$work/venv/bin/python" -W ignore - <<'PY'
import torch
from monai.metrics import HausdorffDistanceMetric, SurfaceDistanceMetric

truth = torch.zeros(1, 3, 12, 12, 12)  # background and two cubes
truth[:, 1, 2:6, 2:6, 2:6] = 1
truth[:, 2, 7:10, 7:10, 7:10] = 1
truth[:, 0] = 1 - truth[:, 1:].sum(1)
half, none = truth.clone(), torch.zeros_like(truth)
half[:, 2] = 0  # one cube is lost
half[:, 0] = 1 - half[:, 1]
none[:, 0] = 1  # both are


def mean(metric, prediction):
    each = metric(prediction, truth)[0].tolist()
    return each, metric.aggregate().item()


hausdorff = HausdorffDistanceMetric(include_background=False, percentile=95)
surface = SurfaceDistanceMetric(include_background=False, symmetric=True)
one, both, other = mean(hausdorff, half), mean(hausdorff, none), mean(surface, half)
print(f"saw: HD95 with one cube found and one lost: {one[0]}, mean {one[1]}; with both lost: {both[0]}, mean {both[1]}")
print(f"     SurfaceDistanceMetric with one lost: {other[0]}, mean {other[1]}")
assert one[0][1] != one[0][1] and one[1] == 0 and both[1] == 0  # nan is not itself
assert other[1] == float("inf")
PY
