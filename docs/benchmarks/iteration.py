"""Time and peak memory of one warm-up and one GRPO iteration for groups of J trajectories and T steps.

Every configuration runs in a process of its own, since peak memory never falls again within one. On a CPU the peak is
the process's largest resident set, on CUDA the largest allocation. The start is the same figure before the first
iteration (interpreter, torch, MONAI, network, pair), and the last column compares what iterations add to it. glibc is
told to return freed blocks (MALLOC_MMAP_THRESHOLD_), or its fragmentation would be measured: about a fifth of the peak,
different in each run. The pair is synthetic: smooth noise, a smooth deformation of it, and 12 labels.

Run: python docs/benchmarks/iteration.py [--size 80 96 112] [--backbone VoxelMorph] [--device cpu] [--threads 1]
     [--iterations 1] [--chunk 1] [--trajectories 1 6 24] [--steps 1 3 8]
The table is Markdown; time is that of the last of the iterations (give 3 on CUDA, where the first ones choose kernels).
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import subprocess
import sys
import time

import torch
from ignite.engine import Events
from monai.engines import Trainer
from torch import Tensor

from morphseek_monai import networks
from morphseek_monai.engines import GRPOTrainer, WarmupTrainer
from morphseek_monai.fields import integrate_velocity, warp, warp_labels
from morphseek_monai.losses import DiffusionLoss, LNCCLoss, MorphSeekLoss, WarmupLoss
from morphseek_monai.rewards import DiceGain, FoldingPenalty, WeightedReward

NUM_LABELS = 13
MIB = 2**20


def smooth_noise(channels: int, size: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Noise ``(1, channels, *size)`` in about -1..1 whose waves are about a sixth of the image long."""
    coarse = 2 * torch.rand((1, channels, 7, 7, 7), generator=generator) - 1
    return torch.nn.functional.interpolate(coarse, size=size, mode="trilinear", align_corners=True)


def make_batch(size: tuple[int, ...]) -> dict[str, Tensor]:
    """One labelled pair; the moving image is the fixed one, deformed by up to three voxels."""
    generator = torch.Generator().manual_seed(0)
    fixed = smooth_noise(1, size, generator)
    fixed = (fixed - fixed.amin()) / (fixed.amax() - fixed.amin())
    labels = (fixed * NUM_LABELS).long().clamp(max=NUM_LABELS - 1).byte()
    ddf = integrate_velocity(3 * smooth_noise(3, size, generator))
    return {
        "image": torch.cat([warp(fixed, ddf), fixed], dim=1),
        "label": torch.cat([warp_labels(labels, ddf), labels], dim=1),
        "labelled": torch.ones(1, dtype=torch.bool),
    }


def make_trainer(args: argparse.Namespace, phase: str, trajectories: int, steps: int) -> Trainer:
    """The trainer as the bundles configure it."""
    torch.manual_seed(0)
    network = networks.MorphSeekNet(getattr(networks, args.backbone)(), steps=steps).to(args.device)
    warmup = WarmupLoss(LNCCLoss(), DiffusionLoss()).to(args.device)
    common = {
        "device": torch.device(args.device),
        "max_epochs": 1,
        "train_data_loader": [make_batch(tuple(args.size))] * args.iterations,
        "network": network,
        "optimizer": torch.optim.Adam(network.parameters(), lr=1e-4),
        "steps": steps,
    }
    if phase == "warm-up":
        return WarmupTrainer(loss_function=warmup, **common)
    reward = WeightedReward({"dice": DiceGain(NUM_LABELS), "folding": FoldingPenalty()}, {"dice": 1.0, "folding": 1.0})
    loss = MorphSeekLoss(warmup, NUM_LABELS).to(args.device)
    return GRPOTrainer(loss_function=loss, reward=reward, trajectories=trajectories, chunk=args.chunk, **common)


def measure(args: argparse.Namespace, phase: str, trajectories: int, steps: int) -> dict[str, float]:
    """Seconds of the last iteration; MiB at the start and at the peak."""
    torch.set_num_threads(args.threads)
    trainer = make_trainer(args, phase, trajectories, steps)
    trainer.logger.setLevel(logging.ERROR)
    cuda = args.device.startswith("cuda")
    clock = {}

    def tick(name: str) -> None:
        if cuda:
            torch.cuda.synchronize()
        clock[name] = time.perf_counter()

    trainer.add_event_handler(Events.ITERATION_STARTED, lambda: tick("started"))
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: tick("completed"))
    start = torch.cuda.memory_allocated() if cuda else peak_resident()
    trainer.run()
    peak = torch.cuda.max_memory_allocated() if cuda else peak_resident()
    return {"seconds": clock["completed"] - clock["started"], "start": start / MIB, "peak": peak / MIB}


def peak_resident() -> float:
    """Largest resident set of this process so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def measure_in_new_process(phase: str, trajectories: int, steps: int) -> dict[str, float]:
    """:func:`measure` with this process's arguments."""
    command = [sys.executable, __file__, *sys.argv[1:], "--measure", phase, str(trajectories), str(steps)]
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    result: dict[str, float] = json.loads(output.splitlines()[-1])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, default=(80, 96, 112))
    parser.add_argument("--backbone", default="VoxelMorph", help="class of morphseek_monai.networks")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--iterations", type=int, default=1)
    parser.add_argument("--chunk", type=int, default=1, help="trajectories decoded together")
    parser.add_argument("--trajectories", type=int, nargs="+", default=(1, 6, 24))
    parser.add_argument("--steps", type=int, nargs="+", default=(1, 3, 8))
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        phase, trajectories, steps = args.measure
        print(json.dumps(measure(args, phase, int(trajectories), int(steps))))
        return
    device = torch.cuda.get_device_name() if args.device.startswith("cuda") else f"CPU, {args.threads} thread(s)"
    print(f"{args.backbone}, {tuple(args.size)}, chunk {args.chunk}, {device}, torch {torch.__version__}\n")
    print("| phase | J | T | time (s) | start (MiB) | peak (MiB) | added, relative to the first |")
    print("|---|---|---|---|---|---|---|")
    cases = [("warm-up", 1, steps) for steps in args.steps]
    cases += [("GRPO", trajectories, steps) for trajectories in args.trajectories for steps in args.steps]
    first: dict[str, float] = {}
    for phase, trajectories, steps in cases:
        result = measure_in_new_process(phase, trajectories, steps)
        added = result["peak"] - result["start"]
        ratio = added / first.setdefault(phase, added)
        group = "-" if phase == "warm-up" else str(trajectories)
        print(
            f"| {phase} | {group} | {steps} | {result['seconds']:.1f} | {result['start']:.0f} | {result['peak']:.0f} |"
            f" {ratio:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
