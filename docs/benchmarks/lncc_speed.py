"""Time LNCCLoss against MONAI's LocalNormalizedCrossCorrelationLoss; prints a Markdown table.

On a loaded machine equal calls of MONAI's backward pass can differ by a factor of 100. The table therefore gives the
fastest, the median and the slowest of several calls, and the processor time, which other programs disturb less.

Run: python docs/benchmarks/lncc_speed.py [--size 80 96 112] [--kernel-size 9] [--threads 2] [--repeats 5]
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from monai.losses import LocalNormalizedCrossCorrelationLoss
from torch import Tensor, nn

from morphseek_monai.losses import LNCCLoss


def measure(loss: nn.Module, pred: Tensor, target: Tensor) -> tuple[float, float, float]:
    """Value, wall seconds and processor seconds of one forward and backward pass."""
    wall, processor = time.perf_counter(), time.process_time()
    value = loss(pred, target)
    torch.autograd.grad(value, pred)
    return value.item(), time.perf_counter() - wall, time.process_time() - processor


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, nargs=3, default=(80, 96, 112))
    parser.add_argument("--kernel-size", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    generator = torch.Generator().manual_seed(0)
    pred, target = torch.rand(2, 1, 1, *args.size, generator=generator)
    target = 0.5 * (pred + target)
    pred.requires_grad_()
    losses = {
        "LNCCLoss": LNCCLoss(args.kernel_size),
        "MONAI, rectangular": LocalNormalizedCrossCorrelationLoss(3, args.kernel_size, "rectangular"),
    }
    print(
        f"{tuple(args.size)}, kernel {args.kernel_size}, {args.threads} threads, torch {torch.__version__};"
    )
    print("forward and backward, wall time (processor time) in s\n")
    print("| loss | value | fastest | median | slowest |")
    print("|---|---|---|---|---|")
    for name, loss in losses.items():
        values, walls, processors = zip(
            *(measure(loss, pred, target) for _ in range(args.repeats)), strict=True
        )
        cells = [f"{pick(walls):.2f} ({pick(processors):.2f})" for pick in (min, statistics.median, max)]
        print(f"| {name} | {values[-1]:.6f} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
