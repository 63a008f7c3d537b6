"""Parameters, time and peak memory of every backbone, in training or in inference, and the policy head's share of them.

Training: one warm-up step (mean squared error and diffusion, T = 1) and one GRPO step (J = 2, T = 1). Inference: T = 3.
"no policy" is the same without the head; "head" is the head alone, in relation to the warm-up step or to the inference.
One call of each kind is not timed, the median of --repeats others is given.

Every backbone runs in a process of its own, since peak memory never falls again within one. On a CPU the peak is the
process's largest resident set, on CUDA the largest allocation; the start is the same figure before the first call. A
backbone that needs more memory than there is gets a row that says so.

Run: python docs/benchmarks/backbones.py [--mode train|infer] [--size 80 96 112] [--only VoxelMorph CorrMLP]
     [--device cpu] [--amp] [--threads 1] [--repeats 1]
The table is Markdown.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from iteration import MIB, NUM_LABELS, make_batch, peak_resident
from monai.engines import Trainer
from monai.networks.nets import BasicUNet
from torch import Tensor

from morphseek_monai import networks
from morphseek_monai.engines import GRPOTrainer, WarmupTrainer, autocast
from morphseek_monai.losses import DiffusionLoss, MorphSeekLoss, WarmupLoss
from morphseek_monai.rewards import DiceGain, FoldingPenalty, WeightedReward

STEPS = 3  # refinement steps in inference; a training step is one
Build = Callable[[list[int]], networks.Backbone]
BACKBONES: dict[str, Build] = {
    "VoxelMorph": lambda size: networks.VoxelMorph(),
    "VoxelMorphL": lambda size: networks.VoxelMorphL(),
    "TransMorph-tiny": lambda size: networks.TransMorph("tiny", image_size=size),
    "TransMorph-small": lambda size: networks.TransMorph("small", image_size=size),
    "TransMorph": lambda size: networks.TransMorph("base", image_size=size),
    "TransMorph-large": lambda size: networks.TransMorph("large", image_size=size),
    "NICETrans": lambda size: networks.NICETrans(),
    "CorrMLP": lambda size: networks.CorrMLP(),
    "BasicUNet": lambda size: networks.MONAIUNet(BasicUNet(3, 2, 3)),
}
COLUMNS = {
    "train": ("warm-up step (s)", "no policy (s)", "head (s)", "GRPO step (s)"),
    "infer": ("inference (s)", "no policy (s)", "head (s)"),
}


def seconds(args: argparse.Namespace, call: Callable[[], object]) -> float:
    """Median time of ``args.repeats`` calls after one that is not timed."""
    cuda = args.device.startswith("cuda")
    times = []
    for _ in range(args.repeats + 1):
        if cuda:
            torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        if cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def make_network(args: argparse.Namespace, policy: str = "gaussian") -> networks.MorphSeekNet:
    """The network on the device; its parameters do not depend on ``policy``, except for the head."""
    torch.manual_seed(0)
    return networks.MorphSeekNet(BACKBONES[args.measure](args.size), steps=STEPS, policy=policy).to(args.device)


def make_trainer(args: argparse.Namespace, network: networks.MorphSeekNet, phase: str) -> Trainer:
    """A trainer whose run is one step on one pair."""
    warmup = WarmupLoss(torch.nn.MSELoss(), DiffusionLoss()).to(args.device)
    common = {
        "device": torch.device(args.device),
        "max_epochs": 1,
        "train_data_loader": [make_batch(tuple(args.size))],
        "network": network,
        "optimizer": torch.optim.Adam(network.parameters(), lr=1e-4),
        "steps": 1,
        "amp": args.amp,
    }
    trainer: Trainer
    if phase == "warm-up":
        trainer = WarmupTrainer(loss_function=warmup, **common)
    else:
        reward = WeightedReward({"dice": DiceGain(NUM_LABELS), "folding": FoldingPenalty()}, {"dice": 1, "folding": 1})
        loss = MorphSeekLoss(warmup, NUM_LABELS).to(args.device)
        trainer = GRPOTrainer(loss_function=loss, reward=reward, trajectories=2, **common)
    trainer.logger.setLevel(logging.ERROR)
    return trainer


def measure(args: argparse.Namespace) -> dict[str, float]:
    """All figures of one backbone; the peak is that of the calls with policy, which come first."""
    torch.set_num_threads(args.threads)
    cuda, train = args.device.startswith("cuda"), args.mode == "train"
    image = make_batch(tuple(args.size))["image"].to(args.device)
    moving, fixed = image[:, :1], image[:, 1:]

    def infer(net: networks.MorphSeekNet) -> None:
        with torch.no_grad(), autocast(image.device, args.amp):
            net.eval()(image)

    def time_of(net: networks.MorphSeekNet, phase: str) -> float:
        if phase == "infer":
            return seconds(args, lambda: infer(net))
        return seconds(args, make_trainer(args, net, phase).run)

    def use_head(head: torch.nn.Module, top: Tensor) -> None:
        """Both maps and their gradients in a training step, the mean of each step in inference."""
        if train:
            policy = head(top.requires_grad_())
            (policy.mu.sum() + policy.log_sigma.sum()).backward()
        else:
            with torch.no_grad(), autocast(image.device, args.amp):
                for _ in range(STEPS):
                    head.mean(top)

    network = make_network(args)
    result = {
        "parameters": sum(p.numel() for p in network.backbone.parameters()),
        "added": sum(p.numel() for p in network.head.parameters()),
        "start": (torch.cuda.memory_allocated() if cuda else peak_resident()) / MIB,
    }
    phase = "warm-up" if train else "infer"
    result["policy"] = time_of(network, phase)
    if train:
        result["grpo"] = time_of(network, "GRPO")
    result["peak"] = (torch.cuda.max_memory_allocated() if cuda else peak_resident()) / MIB
    with torch.no_grad():
        top = network.observe(moving, fixed, torch.zeros_like(moving).expand(-1, 3, -1, -1, -1)).top
    result["head"] = seconds(args, lambda: use_head(network.head, top.detach()))
    result["plain"] = time_of(make_network(args, policy="none"), phase)
    return result


def measure_in_new_process(name: str) -> dict[str, float] | int:
    """:func:`measure` with this process's arguments, or the exit code of a process that failed."""
    command = [sys.executable, __file__, *sys.argv[1:], "--measure", name]
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    process = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
    if process.returncode:
        return process.returncode
    result: dict[str, float] = json.loads(process.stdout.splitlines()[-1])
    return result


def row(name: str, result: dict[str, float] | int) -> str:
    """Line of the table."""
    if isinstance(result, int):
        return f"| {name} | failed, exit code {result} |"
    cells = [name, f"{result['parameters']:,}", f"{result['added'] / result['parameters']:.2%}"]
    cells += [f"{result['policy']:.3g}", f"{result['plain']:.3g}"]
    cells += [f"{result['head']:.2g} ({result['head'] / result['policy']:.2%})"]
    cells += [f"{result['grpo']:.3g}"] if "grpo" in result else []
    cells += [f"{result['start']:.0f}", f"{result['peak']:.0f}"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", choices=("train", "infer"), default="train")
    parser.add_argument("--size", type=int, nargs=3, default=[80, 96, 112])
    parser.add_argument("--only", nargs="+", choices=BACKBONES, default=list(BACKBONES), metavar="NAME")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--amp", action="store_true", help="bfloat16")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args)))
        return
    device = torch.cuda.get_device_name() if args.device.startswith("cuda") else f"CPU, {args.threads} thread(s)"
    precision = "bfloat16" if args.amp else "float32"
    print(f"{args.mode}, {tuple(args.size)}, {device}, {precision}, torch {torch.__version__}\n")
    columns = ["backbone", "parameters", "head adds", *COLUMNS[args.mode], "start (MiB)", "peak (MiB)"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)
    for name in args.only:
        print(row(name, measure_in_new_process(name)), flush=True)


if __name__ == "__main__":
    main()
