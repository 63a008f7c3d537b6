#!/usr/bin/env bash
# torch 2.13 on a CPU: a small 3-D convolution of one image is not handed to oneDNN, that of the same image twice is.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet install torch==2.13.0 numpy==2.3.5
OMP_NUM_THREADS=1 "$work/venv/bin/python" - <<'PY'
import time

import torch
from torch.profiler import ProfilerActivity, profile

layer = torch.nn.Conv3d(8, 16, 3, padding=1).eval()


def kernels(image: torch.Tensor) -> set[str]:
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU]) as seen:
        layer(image)
    return {event.key for event in seen.key_averages()}


def seconds(image: torch.Tensor) -> float:
    times = []
    with torch.no_grad():
        for _ in range(9):
            start = time.process_time()
            layer(image)
            times.append(time.process_time() - start)
    return sorted(times)[4]


one = torch.rand(1, 8, 48, 48, 48)  # 8 x 48 x 48 = 18,432
long = torch.rand(1, 8, 56, 48, 48)  # 21,504
for name, image in (("one image", one), ("the same twice", one.expand(2, -1, -1, -1, -1).contiguous()), ("a longer one", long)):
    used = sorted(kernel for kernel in kernels(image) if "slow_conv3d" in kernel or "mkldnn_convolution" in kernel)
    print(f"saw: {name}: {', '.join(used)}, {1000 * seconds(image):.0f} ms of processor")
assert any("slow_conv3d" in kernel for kernel in kernels(one))
for image in (torch.cat([one, one]), long):
    assert any("mkldnn" in kernel for kernel in kernels(image)) and not any("slow" in k for k in kernels(image))
PY
