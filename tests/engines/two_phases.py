"""A small training of two phases as a program: alone, under ``torchrun``, killed, resumed.

Everything that a run keeps changes on the way: Adam or SGD with momentum, schedule, KL weight, random pairs and flips,
best value, early stopping. Rank r writes into ``FOLDER/rank<r>``, where its handlers must leave nothing unless r is 0;
what each rank ends with goes into ``FOLDER/report<r>.pt``.
"""

from __future__ import annotations

import argparse
import functools
import os
import signal
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.data import DataLoader, DistributedSampler
from monai.handlers import IgniteMetricHandler, LrScheduleHandler, ValidationHandler, from_engine
from monai.transforms import RandFlipd
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from morphseek_monai.data import PairDataset
from morphseek_monai.engines import GRPOTrainer, RefinementTrainer, RegistrationEvaluator, WarmupTrainer, run_phases
from morphseek_monai.handlers import (
    BestCheckpoint,
    CurveLog,
    EarlyStop,
    PairFigure,
    Provenance,
    RunCheckpoint,
    TargetKL,
)
from morphseek_monai.losses import DiffusionLoss, MorphSeekLoss, WarmupLoss
from morphseek_monai.metrics import FoldingPercent, RegistrationDice
from morphseek_monai.networks import MorphSeekNet, VoxelMorph
from morphseek_monai.rewards import DiceGain, WeightedReward

SIZE, LABELS, EPOCHS, PAIRS = 16, 3, 3, 8
PHASES = {"warmup": WarmupTrainer, "grpo": GRPOTrainer}


def subject(i: int) -> dict[str, Any]:
    """A blob in its own place; label 1 is its core, 2 its rim."""
    centre = 7.5 + torch.tensor([i % 2, i // 2 % 2, i // 4 % 2]) * 2.0 - 1.0 + 0.2 * i
    grid = torch.stack(torch.meshgrid(*[torch.arange(float(SIZE))] * 3, indexing="ij"))
    image = torch.exp(-(grid - centre.view(3, 1, 1, 1)).square().sum(0) / 20)[None]
    return {"image": image, "label": (image > 0.7).byte() + 2 * ((image > 0.3) & (image <= 0.7)).byte(), "id": f"s{i}"}


class Run:
    """Both phases, their data and what they share."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.distributed = "RANK" in os.environ
        self.rank = int(os.environ.get("RANK", 0))
        self.folder = Path(args.folder) / f"rank{self.rank}"
        torch.manual_seed(self.rank)  # ranks start apart: the wrapper has to bring them together
        backbone = VoxelMorph((4, 8), (8, 8), (4,), integration_steps=2)
        nn.init.normal_(backbone.flow.weight, std=0.5)
        self.network = MorphSeekNet(backbone, steps=2)
        self.loss = WarmupLoss(nn.MSELoss(), DiffusionLoss(), reg_weight=0.01)
        self.best = BestCheckpoint(str(self.folder / "model.pt"), self.network)
        metrics = {
            name: IgniteMetricHandler(metric_fn=metric, output_transform=from_engine(["pred", "label"]))
            for name, metric in (("val_mean_dice", RegistrationDice(LABELS)), ("njd", FoldingPercent()))
        }
        self.evaluator = RegistrationEvaluator(
            device="cpu",
            val_data_loader=self.loader(PairDataset([subject(i) for i in range(5, 8)]), 1, even=False),
            network=self.network,
            key_val_metric={"val_mean_dice": metrics["val_mean_dice"]},
            additional_metrics={"njd": metrics["njd"]},
            val_handlers=[self.best, PairFigure(str(self.folder / "pair.png"), interval=EPOCHS)],
        )
        self.terms: list[dict[str, float]] = []
        self.kept: dict[str, dict[str, Any]] = {}
        self.trainers = {phase: self.trainer(phase) for phase in PHASES}

    def loader(self, dataset: PairDataset, batch_size: int, even: bool) -> DataLoader:
        sampler = DistributedSampler(dataset, even_divisible=even, shuffle=False) if self.distributed else None
        return DataLoader(dataset, batch_size=batch_size, sampler=sampler)

    def trainer(self, phase: str) -> RefinementTrainer:
        flips = [RandFlipd(["image", "label"], prob=0.5, spatial_axis=axis) for axis in range(3)]
        data = PairDataset([subject(i) for i in range(5)], pair_transform=flips, mode="random", length=PAIRS)
        optimizer: torch.optim.Optimizer = (
            torch.optim.Adam(self.network.parameters(), lr=0.003)
            if self.args.optimizer == "Adam"
            else torch.optim.SGD(self.network.parameters(), lr=0.05, momentum=0.9)
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=EPOCHS)
        stop = EarlyStop(self.args.patience, self.evaluator)
        kept = {"model": self.network, "optimizer": optimizer, "scheduler": schedule, "loss": self.loss}
        kept |= {"best": self.best, "stop": stop}
        self.kept[phase] = kept
        reward = WeightedReward({"dice": DiceGain(LABELS)}, {"dice": 1.0})
        special: dict[str, Any] = {"loss_function": self.loss}
        if phase == "grpo":
            special = {"loss_function": MorphSeekLoss(self.loss, LABELS), "reward": reward, "trajectories": 3}
        trainer = PHASES[phase](
            device=torch.device("cpu"),
            max_epochs=EPOCHS,
            train_data_loader=self.loader(data, self.args.batch, even=True),
            network=self.network,
            optimizer=optimizer,
            wrap=functools.partial(DistributedDataParallel, **self.args.ddp) if self.distributed else None,
            train_handlers=[
                LrScheduleHandler(schedule, print_lr=False),
                ValidationHandler(interval=1, validator=self.evaluator),
                CurveLog(str(self.folder / "curves.csv"), phase, self.evaluator),
                RunCheckpoint(str(self.folder / f"checkpoint_{phase}.pt"), kept, resume=self.args.resume),
                stop,
                TargetKL(self.loss, target=0.5),
                Provenance(str(self.folder / "provenance.json"), {}),
            ],
            **special,
        )
        trainer.add_event_handler(Events.ITERATION_STARTED, self.spoil, phase)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self.after_iteration, phase)
        return trainer

    def spoil(self, trainer: Engine, phase: str) -> None:
        """NaN in pair 1 of all processes, in one iteration."""
        if f"{phase}:{trainer.state.iteration}" != self.args.nan:
            return
        batch: Any = trainer.state.batch
        if not self.distributed:
            batch["image"][1] = torch.nan
        elif self.rank == 1:
            batch["image"][0] = torch.nan

    def after_iteration(self, trainer: Engine, phase: str) -> None:
        output: Any = trainer.state.output
        self.terms.append(output[0]["terms"])
        if f"{phase}:{trainer.state.iteration}" == self.args.kill:
            os.kill(os.getpid(), signal.SIGKILL)

    def report(self) -> dict[str, Any]:
        """What the run ends with."""
        state = {phase: {name: item.state_dict() for name, item in kept.items()} for phase, kept in self.kept.items()}
        epochs = {phase: trainer.state.epoch for phase, trainer in self.trainers.items()}
        skipped = {phase: trainer.state.skipped for phase, trainer in self.trainers.items()}
        metrics: dict[str, Any] = dict(self.evaluator.state.metrics)
        return {"state": state, "epochs": epochs, "skipped": skipped, "terms": self.terms, "metrics": metrics}


def kill_while_saving(name: str, call: int) -> None:
    """Die in the middle of file ``name`` when it is written for the ``call``-th time."""
    save, calls = torch.save, [0]

    def half(state: Any, file: Any) -> None:
        save(state, file)
        calls[0] += str(file.name).endswith(name)
        if calls[0] == call:
            file.truncate(file.tell() // 2)
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)

    torch.save = half  # type: ignore[assignment]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--batch", type=int, default=2, help="of one process")
    parser.add_argument("--optimizer", default="Adam")
    parser.add_argument("--patience", type=int)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--nan", help="phase:iteration")
    parser.add_argument("--kill", help="phase:iteration, or save:file:call")
    parser.add_argument("--ddp", type=eval, default={}, help="arguments of DistributedDataParallel")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.kill and args.kill.startswith("save:"):
        _, name, call = args.kill.split(":")
        kill_while_saving(name, int(call))
    distributed = "RANK" in os.environ
    if distributed:
        torch.distributed.init_process_group("gloo")
    run = Run(args)
    run_phases("all", run.trainers)
    torch.save(run.report(), Path(args.folder) / f"report{run.rank}.pt")
    if distributed:
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
