"""Does it pay to stop? Fixed numbers of refinement steps, plain rules, and a policy that learns when to stop.

    python docs/benchmarks/stopping.py RUN [RUN ...] --dataset_dir DATA [--steps 6] [--costs 0.25 0.5 1] [--out FILE]

RUN is the folder of a run (see latent.py); its network makes the steps and is not changed. A pair earns its hard Dice
(points) less the cost of every step. After each step a rule says whether to stop; the last step ends it anyway:

- `fixed`: the same number for all pairs;
- `moved`: when the step moved the voxels by less than x on average;
- `score`: when the label-free score (similarity and folding) rose by less than x;
- `learned`: when a policy's probability to stop is above one half. It sees how far the step moved (mean, root mean
  square, 95th percentile) and its number; `learned, top`: the mean and spread of the top feature's channels too.
- `told`: one number for pairs that start below 50 % Dice and one for the others, which only labels can tell;
- `hindsight`: the best number for each pair, which nothing can tell.

All steps are rolled out in training, so the policy's expected return is exact and no action is drawn. Numbers and
thresholds, and when a policy's training ends, are chosen on the crops between, for each cost; the report is on others.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

import torch
from latent import BUNDLE, Run, load_run
from monai.data.utils import list_data_collate
from scipy.stats import spearmanr
from torch import Tensor, nn

from morphseek_monai.data import PairDataset, labelled_images
from morphseek_monai.engines import prepare_pairs
from morphseek_monai.inference.score import label_free_score
from morphseek_monai.networks import MorphSeekNet
from morphseek_monai.networks.rollout import no_displacement
from morphseek_monai.rewards import DiceGain, RewardState

FIRST_EPOCH = 1000  # of the policy's training pairs: drawn anew from the network's training subjects
ITERATIONS = 400
FAR = 50.0  # points of Dice that a pair far apart starts below


class Walks(NamedTuple):
    """What was seen and won after each of T steps of N pairs.

    Attributes:
        before: Dice (points) that the pairs start from ``(N,)``.
        dice: after each step ``(N, T)``.
        moved: the step's displacements in voxels: mean, root mean square, 95th percentile ``(N, T, 3)``.
        score: rise of the label-free score ``(N, T)``.
        top: mean and standard deviation of each channel of the top feature ``(N, T, 2 C)``.
        seconds: processor time of the steps alone ``(N, T)``.
        scoring: of the score ``(N, T)``.
    """

    before: Tensor
    dice: Tensor
    moved: Tensor
    score: Tensor
    top: Tensor
    seconds: Tensor
    scoring: Tensor


@torch.no_grad()
def walk(network: MorphSeekNet, image: Tensor, label: Tensor, steps: int, num_labels: int) -> Walks:
    """Refine one pair ``(1, 2, D, H, W)`` and note all that a rule could look at."""
    moving, fixed = image[:, :1], image[:, 1:]
    ddf = no_displacement(image)
    none = torch.zeros(1)
    state = RewardState(label[:, :1], label[:, 1:], ddf, ddf, none)
    gain = DiceGain(num_labels)
    rows = []
    before, score = 100 * gain(state), label_free_score(image, ddf)
    for t in range(steps):
        began = time.process_time()
        encoding = network.observe(moving, fixed, ddf, network.scale(t))
        refined = network.act(encoding.skips, network.mean_latent(encoding.top), ddf, network.scale(t))
        stepped = time.process_time()
        now = label_free_score(image, refined)
        scored = time.process_time()
        length = (refined - ddf).square().sum(1).sqrt().flatten()
        sizes = torch.stack([length.mean(), length.square().mean().sqrt(), length.quantile(0.95)])
        top = encoding.top.flatten(2)[0]
        times = torch.tensor([stepped - began, scored - stepped])
        won = 100 * gain(state._replace(ddf=refined))
        rows.append((won[0], sizes, (now - score)[0], torch.cat([top.mean(1), top.std(1)]), times[0], times[1]))
        ddf, score = refined, now
    return Walks(before, *(torch.stack(column)[None] for column in zip(*rows)))


def walks(run: Run, items: Iterator[Any], steps: int) -> Walks:
    """Those of all pairs of ``items``."""
    found = []
    for item in items:
        pair = prepare_pairs(list_data_collate([item]), run.device).pair(0)
        if pair.label is not None:
            found.append(walk(run.network, pair.image, pair.label, steps, run.num_labels))
    return Walks(*(torch.cat(parts) for parts in zip(*found)))


def training_items(dataset: Any, count: int) -> Iterator[Any]:
    """``count`` random pairs of the training subjects, moved apart as in training."""
    for number in range(count):
        if number % len(dataset) == 0:
            dataset.set_epoch(FIRST_EPOCH + number // len(dataset))
        yield dataset[number % len(dataset)]


def held_out_items(like: Any, subjects: Sequence[Any], neighbours: int, seed: int) -> Iterator[Any]:
    """Every subject with its next ``neighbours``, moved apart as in the validation, by draws of ``seed``."""
    n = len(subjects)
    ends = [(i, (i + j) % n) for j in range(1, neighbours + 1) for i in range(n)]
    pairs = [{"fixed": subjects[fixed], "moving": subjects[moving]} for fixed, moving in ends]
    dataset = PairDataset(pairs, like.transform, like.pair_transform, seed=seed)
    return (dataset[i] for i in range(len(dataset)))


def probability_of_each(logits: Tensor) -> Tensor:
    """Probability that the policy ends after each step ``(N, T)``, from the logits of stopping there if it gets there.

    Example:
        >>> probability_of_each(torch.zeros(1, 3))
        tensor([[0.5000, 0.2500, 0.2500]])
    """
    stop = torch.cat([logits[:, :-1].sigmoid(), torch.ones_like(logits[:, :1])], 1)
    arrive = torch.cat([torch.ones_like(stop[:, :1]), (1 - stop[:, :-1]).cumprod(1)], 1)
    return arrive * stop


def expected_return(logits: Tensor, dice: Tensor, cost: float) -> Tensor:
    """Mean over the pairs of what the policy earns, exactly: Dice where it ends less ``cost`` for every step."""
    steps = torch.arange(1, dice.shape[1] + 1)
    return (probability_of_each(logits) * (dice - cost * steps)).sum(1).mean()


def fit(train: Tensor, seen: Walks, choose: Tensor, chosen_by: Walks, cost: float) -> nn.Module:
    """A policy ``features -> logits`` by gradient of the exact return, kept where it earns most on other pairs.

    Args:
        train: features ``(N, T, F)`` of the training pairs.
        seen: their walks.
        choose: features of the pairs that say when to end.
        chosen_by: their walks.
        cost: of a step, in points of Dice.

    Returns:
        The policy.
    """
    torch.manual_seed(0)
    features = train.shape[-1]
    policy = nn.Sequential(nn.Linear(features, 16), nn.Tanh(), nn.Linear(16, 1), nn.Flatten(-2))
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.01)
    best, weights = float("-inf"), policy.state_dict()
    for _ in range(ITERATIONS):
        optimizer.zero_grad()
        (-expected_return(policy(train), seen.dice, cost)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        with torch.no_grad():
            value = earned(steps_taken(policy(choose) > 0), chosen_by, cost)
        if value > best:
            best, weights = value, {name: w.clone() for name, w in policy.state_dict().items()}
    policy.load_state_dict(weights)
    return policy


def steps_taken(stop: Tensor) -> Tensor:
    """First step, from 1, after which ``stop`` ``(N, T)`` says so; T where it never does."""
    last = torch.ones_like(stop[:, :1])
    return torch.cat([stop[:, :-1], last], 1).float().argmax(1) + 1


def earned(steps: Tensor, of: Walks, cost: float) -> float:
    """Mean Dice less the cost of the steps, points."""
    return float((of.dice.gather(1, steps[:, None] - 1)[:, 0] - cost * steps).mean())


def by_threshold(values: Tensor, of: Walks, cost: float) -> float:
    """The x for which 'stop below x' earns most."""
    candidates = torch.cat([values.flatten().quantile(torch.linspace(0, 1, 101)), torch.tensor([torch.inf])])
    return max(candidates.tolist(), key=lambda x: earned(steps_taken(values < x), of, cost))


def decide(train: Walks, choose: Walks, report: Walks, cost: float) -> dict[str, Tensor]:
    """Steps that each rule takes on the reported pairs ``(N,)``, by its name."""
    n, t = report.dice.shape
    decided = {f"fixed {k}": torch.full((n,), k) for k in range(1, t + 1)}
    decided["best fixed"] = torch.full((n,), best_fixed(choose, cost))
    decided["moved"] = steps_taken(report.moved[..., 0] < by_threshold(choose.moved[..., 0], choose, cost))
    decided["score"] = steps_taken(report.score < by_threshold(choose.score, choose, cost))
    for name, with_top in (("learned", False), ("learned, top", True)):
        inputs = [features(of, with_top) for of in (train, choose, report)]
        mean, spread = inputs[0].mean((0, 1)), inputs[0].std((0, 1)).clamp(min=1e-6)
        inputs = [(x - mean) / spread for x in inputs]
        policy = fit(inputs[0], train, inputs[1], choose, cost)
        with torch.no_grad():
            decided[name] = steps_taken(policy(inputs[2]) > 0)
    decided["told"] = torch.where(report.before < FAR, *(best_fixed(choose, cost, far) for far in (True, False)))
    return decided | {"hindsight": (report.dice - cost * torch.arange(1, t + 1)).argmax(1) + 1}


def best_fixed(of: Walks, cost: float, far: bool | None = None) -> int:
    """The number of steps that earns most on all pairs, or on those that start far apart or do not."""
    chosen = of.dice if far is None else of.dice[(of.before < FAR) == far]
    return int((chosen.mean(0) - cost * torch.arange(1, of.dice.shape[1] + 1)).argmax()) + 1


def features(of: Walks, with_top: bool) -> Tensor:
    """What the policy sees ``(N, T, F)``."""
    number = torch.arange(of.dice.shape[1]).float()[None, :, None].expand(len(of.dice), -1, 1)
    return torch.cat([of.moved.log(), number, *([of.top] if with_top else [])], -1)


def rows_of(run: Run, train: Walks, choose: Walks, report: Walks, costs: Sequence[float]) -> list[dict[str, Any]]:
    """A line for each cost and rule."""
    rows = []
    for cost in costs:
        for rule, steps in decide(train, choose, report, cost).items():
            made = torch.arange(1, report.dice.shape[1] + 1) <= steps[:, None]
            seconds = report.seconds + (report.scoring if rule == "score" else 0)
            varied = len(steps.unique()) > 1
            rows.append(
                {
                    "run": run.name,
                    "cost": cost,
                    "rule": rule,
                    "before": float(report.before.mean()),
                    "dice": float(report.dice.gather(1, steps[:, None] - 1).mean()),
                    "steps": float(steps.float().mean()),
                    "seconds": float((seconds * made).sum(1).mean()),
                    "return": earned(steps, report, cost),
                    "spearman": float(spearmanr(steps, report.before)[0]) if varied else float("nan"),
                }
            )
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Two Markdown tables: the numbers of steps, and for each cost what the rules earn; mean and deviation of runs."""

    def cell(numbers: Sequence[float]) -> str:
        known = [number for number in numbers if not math.isnan(number)]
        spread = f" ± {stdev(known):.2f}" if len(known) > 1 else ""
        return f"{fmean(known):.2f}{spread}" if known else "-"

    def of(cost: float, rule: str, *columns: str) -> list[list[float]]:
        chosen = [row for row in rows if (row["cost"], row["rule"]) == (cost, rule)]
        return [[float(row[column]) for row in chosen] for column in columns]

    def line(*cells: Any) -> str:
        return f"| {' | '.join(map(str, cells))} |"

    lines = [line("steps", "Dice (%)", "processor s / pair"), line(*["---"] * 3)]
    lines.append(line("none", cell(of(rows[0]["cost"], "fixed 1", "before")[0]), "-"))
    kinds = list(dict.fromkeys((row["cost"], row["rule"]) for row in rows))
    for cost, rule in kinds:
        if rule.startswith("fixed") and cost == rows[0]["cost"]:
            lines.append(line(rule.split()[1], *map(cell, of(cost, rule, "dice", "seconds"))))
    heads = ("cost", "rule", "Dice (%)", "steps", "processor s / pair", "earned, against best fixed", "Spearman")
    lines += ["", line(*heads), line(*["---"] * len(heads))]
    for cost, rule in kinds:
        if not rule.startswith("fixed"):
            dice, steps, seconds, earned_, rank = of(cost, rule, "dice", "steps", "seconds", "return", "spearman")
            gain = [own - fixed for own, fixed in zip(earned_, of(cost, "best fixed", "return")[0])]
            lines.append(line(cost, rule, *map(cell, (dice, steps, seconds, gain, rank))))
    return "\n".join(lines)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The lines of a CSV file that this program wrote."""
    with open(path, newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    return [{key: v if key in ("run", "rule") else float(v) for key, v in line.items()} for line in lines]


def main() -> None:
    """Measure the runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder OUT/PLAN/ROW/seedN")
    parser.add_argument("--dataset_dir", required=True, help="folder with images and labels")
    parser.add_argument("--bundle", type=Path, default=BUNDLE, help="that the plan was carried out with")
    parser.add_argument("--steps", type=int, default=6, help="the most steps; default 6")
    parser.add_argument("--costs", type=float, nargs="+", default=[0.25, 0.5, 1.0], help="points of Dice for a step")
    parser.add_argument("--pairs", type=int, default=200, help="training pairs of the policy; default 200")
    parser.add_argument("--choose", type=int, nargs=2, default=[60, 80], help="crops that choose; default 60 80")
    parser.add_argument("--report", type=int, nargs=2, default=[80, 100], help="crops to report on; default 80 100")
    parser.add_argument("--neighbours", type=int, default=3, help="pairs for each of these crops; default 3")
    parser.add_argument("--out", type=Path, default=Path("stopping.csv"), help="CSV file, replaced")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for folder in args.runs:
        run = load_run(folder, args.bundle.resolve(), args.dataset_dir)
        subjects = labelled_images(args.dataset_dir)
        held = [
            walks(run, held_out_items(run.validation, subjects[low:high], args.neighbours, low), args.steps)
            for low, high in (args.choose, args.report)
        ]
        train = walks(run, training_items(run.training, args.pairs), args.steps)
        rows += rows_of(run, train, *held, args.costs)
        with open(args.out, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    print(table(rows))


if __name__ == "__main__":
    main()
