"""Time of a training iteration and of inference on a CPU, of two checkouts in turn.

Each measurement runs in a process of its own with the checkout on PYTHONPATH, and the two checkouts take turns, so that
both see the same machine. A process does ``--repeat`` iterations after one that is not counted, and reports the median
of their wall time and of their processor time. A row of the table is the median over ``--rounds`` processes, and
the ratio is that of the processor times (old / new), which other programs on the machine disturb least; with
``--threads 1`` it is the ratio of the wall times of a quiet machine.

Measured are: ``warm-up``, an iteration of ``WarmupTrainer``; ``soft Dice``, one of ``GRPOTrainer`` with
``trajectories=1``; ``GRPO``, one with six; all with three steps, on one pair; and ``inference``, the network's forward
without gradient. ``phantom`` is the network, the losses and the image size of bundles/morphseek_phantom; the others
are the backbones as published, with the losses of docs/benchmarks/iteration.py. float32.

Run: python docs/benchmarks/training_speed.py --old PATH --new PATH [--networks phantom VoxelMorph ...]
     [--size 48 48 48] [--what warm-up soft-Dice GRPO inference] [--threads 1] [--rounds 3] [--repeat 3]
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
from pathlib import Path
from typing import Any

WHAT = ("warm-up", "soft-Dice", "GRPO", "inference")
NETWORKS = ("phantom", "VoxelMorph", "TransMorph", "NICETrans", "CorrMLP", "BasicUNet")


def make_network(name: str) -> Any:
    """The network, untrained."""
    from monai.networks.nets import BasicUNet

    from morphseek_monai import networks

    if name == "phantom":
        backbone = networks.VoxelMorphL(encoder=(8, 16, 32, 32), decoder=(32, 32, 32, 16), extras=(8,))
    elif name == "BasicUNet":
        features = (8, 16, 32, 32, 64, 8)
        backbone = networks.MONAIUNet(BasicUNet(spatial_dims=3, in_channels=2, out_channels=3, features=features))
    else:
        backbone = getattr(networks, name)()
    return networks.MorphSeekNet(backbone, steps=3)


def make_action(args: argparse.Namespace) -> Callable[[], object]:
    """One iteration, or one forward."""
    import torch
    from iteration import NUM_LABELS, make_batch

    from morphseek_monai.engines import GRPOTrainer, WarmupTrainer
    from morphseek_monai.losses import DiffusionLoss, GRPOLoss, LNCCLoss, MorphSeekLoss, WarmupLoss
    from morphseek_monai.rewards import DiceGain, FoldingPenalty, WeightedReward

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    network, batch = make_network(args.measure[0]), make_batch(tuple(args.size))
    what = args.measure[1]
    if what == "inference":
        network.eval()
        return lambda: torch.no_grad()(network)(batch["image"])
    phantom = args.measure[0] == "phantom"
    similarity = torch.nn.MSELoss() if phantom else LNCCLoss()
    loss: torch.nn.Module = WarmupLoss(similarity, DiffusionLoss(), reg_weight=0.05, kl_weight=1e-5)
    common = {
        "device": torch.device("cpu"),
        "max_epochs": 1,
        "train_data_loader": [batch],
        "network": network,
        "optimizer": torch.optim.Adam(network.parameters(), lr=1e-4),
    }
    if what == "warm-up":
        trainer: Any = WarmupTrainer(loss_function=loss, **common)
    else:
        reward = WeightedReward(
            {"dice": DiceGain(NUM_LABELS), "folding": FoldingPenalty()}, {"dice": 1.0, "folding": 1.0}
        )
        loss = MorphSeekLoss(loss, NUM_LABELS, GRPOLoss(), warmup_weight=20.0, policy_weight=0.02)
        trajectories = 6 if what == "GRPO" else 1
        trainer = GRPOTrainer(loss_function=loss, reward=reward, trajectories=trajectories, tau=0.25, **common)
    trainer.logger.setLevel(logging.ERROR)
    return lambda: run_once(trainer)


def run_once(trainer: Any) -> None:
    """Run the trainer's one iteration again."""
    trainer.state.max_epochs = trainer.state.epoch + 1
    trainer.run()


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Medians of the repeated action, in seconds."""
    action = make_action(args)
    action()
    wall, processor = [], []
    for _ in range(args.repeat):
        start = time.perf_counter(), time.process_time()
        action()
        wall.append(time.perf_counter() - start[0])
        processor.append(time.process_time() - start[1])
    return {"wall": statistics.median(wall), "processor": statistics.median(processor)}


def measure_checkout(checkout: str, network: str, what: str) -> dict[str, float]:
    """:func:`measure` in a new process that imports the package from ``checkout``."""
    command = [sys.executable, __file__, *sys.argv[1:], "--measure", network, what]
    environment = {**os.environ, "PYTHONPATH": str(Path(checkout).resolve())}
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    result: dict[str, float] = json.loads(output.splitlines()[-1])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", required=True, help="checkout to compare with")
    parser.add_argument("--new", required=True, help="checkout to be compared")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--what", nargs="+", choices=WHAT, default=WHAT)
    parser.add_argument("--size", type=int, nargs=3, default=(48, 48, 48))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args)))
        return
    print(f"{tuple(args.size)}, {args.threads} thread(s), {args.rounds} rounds\n")
    print("| network | what | old: wall, processor (s) | new: wall, processor (s) | old / new |")
    print("|---|---|---|---|---|")
    for network in args.networks:
        for what in args.what:
            rounds = [[measure_checkout(c, network, what) for c in (args.old, args.new)] for _ in range(args.rounds)]
            old, new = ({key: statistics.median(r[i][key] for r in rounds) for key in rounds[0][i]} for i in (0, 1))
            times = [f"{build['wall']:.2f}, {build['processor']:.2f}" for build in (old, new)]
            ratio = old["processor"] / new["processor"]
            print(f"| {network} | {what} | {times[0]} | {times[1]} | {ratio:.1f} |", flush=True)


if __name__ == "__main__":
    main()
