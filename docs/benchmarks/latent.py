"""What the latent policy of trained networks does: to Dice, to the field, and to the gradient.

    python docs/benchmarks/latent.py RUN [RUN ...] --dataset_dir DATA [--pairs 4] [--samples 16] [--groups 8]

RUN is the folder of one run of ``python -m morphseek_monai.experiments``, OUT/PLAN/ROW/seedN. Its network, losses,
rewards, data and temperature are built from the bundle's configs/train.json and the run's overlay.json; its weights are
the last ones. Field and Dice are measured on validation pairs, gradients on training pairs, each in the first and in
the last refinement step, and averaged over the pairs. The table is printed; the CSV file has a line for each run.

How to read it. Another pair's latent that leaves the field as it is (share 0; unrelated fields give 2) is not used by
the decoder. The policy gradients of two groups of the same step have a cosine of S / (S + N), S and N being the powers
of signal and noise: 1 is all signal, 0 all noise; the last rows tell how large a group must be for S = N. Global credit
is the run's reward, local credit LocalDiceGain; groups are as large as the run's, 6 where it drew none.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from latent_measures import BEST_OF, Step, field_measures, gradient_measures, group_size_for_equal_noise, steps_of
from monai.bundle.config_parser import ConfigParser
from monai.data.utils import list_data_collate
from torch.utils.data import Dataset

from morphseek_monai.engines import prepare_pairs
from morphseek_monai.engines.batch import Pair
from morphseek_monai.experiments.results import Folder
from morphseek_monai.losses import MorphSeekLoss
from morphseek_monai.networks import MorphSeekNet
from morphseek_monai.networks.weights import load_weights, read_tensors
from morphseek_monai.rewards import LocalDiceGain, Reward

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "morphseek_brain_mri_oasis"
CREDITS = ("global", "local")
PARTS = ("reward", "num_labels", "trajectories", "tau", "device")
PAPERS_GROUP = 6  # for runs that drew none
# column, what the table calls it, decimals
QUANTITIES = [
    ("dice", "Dice of the mean latent (%)", 2),
    ("spread", "samples' Dice: standard deviation (points)", 3),
    ("best", "best less mean", 3),
    ("shift", "mean less mean latent", 3),
    ("spread_tau1", "at tau = 1: standard deviation", 3),
    ("best_tau1", "best less mean", 3),
    ("shift_tau1", "mean less mean latent", 3),
    *((f"best_of_{j}", f"best of {j} less mean latent", 3) for j in BEST_OF),
    ("z_share", "change of the field with another pair's mean latent (share)", 5),
    ("skip_share", "with another pair's skips", 3),
    ("noise_share", "variance of the field over samples (share)", 6),
    ("noise_share_tau1", "at tau = 1", 6),
    ("sigma", "sigma at tau = 1", 3),
    ("at_lower_clip", "share at the lower clip", 3),
    ("at_upper_clip", "share at the upper clip", 3),
    ("kl", "KL (nats per dimension)", 3),
    *(
        quantity
        for name in CREDITS
        for quantity in (
            (f"{name}_ratio", f"{name} credit: norm of the policy gradient over that of the other terms", 3),
            (f"{name}_dice_cosine", "cosine with the soft Dice's gradient", 3),
            (f"{name}_cosine", "cosine of two groups", 4),
            (f"{name}_cosine_error", "its standard error over the pairs", 4),
            (f"{name}_group_size", "group size for equal signal and noise", 0),
        )
    ),
]


@dataclass
class Run:
    """What a run was trained with, and what came of it."""

    name: str
    network: MorphSeekNet
    loss: MorphSeekLoss
    reward: Reward
    num_labels: int
    trajectories: int
    tau: float
    device: torch.device
    training: Dataset[Any]
    validation: Dataset[Any]


def load_run(folder: Path, bundle: Path, dataset_dir: str) -> Run:
    """Build what a run was made of and load its last weights.

    Raises:
        FileNotFoundError: When the folder is not that of a run, or the run has no checkpoint.
        ValueError: When its network has no policy.
    """
    files = Folder(folder)
    if not files.overlay.is_file():
        raise FileNotFoundError(f"{folder} has no overlay.json; give folders OUT/PLAN/ROW/seedN")
    overlay = json.loads(files.overlay.read_text(encoding="utf-8"))
    config = ConfigParser()
    config.read_config([str(bundle / "configs" / "train.json"), str(files.overlay)])
    config.update({"bundle_root": str(bundle), "dataset_dir": str(Path(dataset_dir).resolve())})
    network = config.get_parsed_content("network").eval()
    if network.head is None:
        raise ValueError(f"{folder} was trained with policy='none', which has no latent to measure; leave it out")
    load_weights(files.last_weights, network)
    loss = config.get_parsed_content("loss")
    loss.warmup.load_state_dict(read_tensors(files.last_weights)["loss"])  # the weight of the KL term as steered
    return Run(
        name=f"{overlay['experiment']['plan']}/{overlay['experiment']['row']}/seed{overlay['seed']}",
        network=network,
        loss=loss,
        **{name: config.get_parsed_content(name) for name in PARTS},
        training=config.get_parsed_content("train#dataset"),
        validation=config.get_parsed_content("validate#dataset"),
    )


def labelled_pairs(dataset: Any, count: int, device: torch.device) -> list[Pair]:
    """The first labelled pairs of a data set, as many as there are up to ``count``."""
    batches = (prepare_pairs(list_data_collate([dataset[i]]), device) for i in range(len(dataset)))
    return list(islice((batch.pair(0) for batch in batches if batch.labelled[0]), count))


def analyse(run: Run, pairs: int, samples: int, groups: int) -> dict[str, float | str]:
    """All quantities of a run, ``NAME_first`` and, with several steps, ``NAME_last``.

    Raises:
        ValueError: When there are fewer than two labelled pairs to validate with: their latents are exchanged.
    """
    generator = torch.Generator(run.device).manual_seed(0)
    size = run.trajectories if run.trajectories > 1 else PAPERS_GROUP
    validation = [steps_of(run.network, pair) for pair in labelled_pairs(run.validation, pairs, run.device)]
    training = [steps_of(run.network, pair) for pair in labelled_pairs(run.training, pairs, run.device)]
    if len(validation) < 2 or not training:
        found = f"{len(validation)} and {len(training)}"
        raise ValueError(f"{run.name} needs 2 labelled validation and 1 training pairs, got {found}; raise --pairs")
    credits: Mapping[str, Reward] = dict(zip(CREDITS, (run.reward, LocalDiceGain(run.num_labels))))
    row: dict[str, float | str] = {
        "run": run.name,
        "tau": run.tau,
        "samples": samples,
        "groups": groups,
        "group_size": size,
        "validation_pairs": len(validation),
        "training_pairs": len(training),
        "policy_weight": run.loss.policy_weight,
    }
    for stage, t in {"first": 0, **({"last": run.network.steps - 1} if run.network.steps > 1 else {})}.items():
        steps: list[Step] = [own[t] for own in validation]
        fields = [
            field_measures(run.network, step, other, run.num_labels, samples, run.tau, generator)
            for step, other in zip(steps, [*steps[1:], steps[0]])
        ]
        gradients = [
            gradient_measures(run.network, own[t], run.loss, credits, size, groups, run.tau, generator)
            for own in training
        ]
        row |= {f"{name}_{stage}": fmean(one[name] for one in fields) for name in fields[0]}
        row |= {f"{name}_{stage}": fmean(one[name] for one in gradients) for name in gradients[0]}
        for name in CREDITS:
            cosines = [one[f"{name}_cosine"] for one in gradients]
            error = stdev(cosines) / len(cosines) ** 0.5 if len(cosines) > 1 else float("nan")
            row[f"{name}_cosine_error_{stage}"] = error
            row[f"{name}_group_size_{stage}"] = group_size_for_equal_noise(fmean(cosines), size)
    return row


def table(rows: Sequence[Mapping[str, float | str]]) -> str:
    """Markdown: a line for each quantity, a column for each run; first and last step."""
    lines = [["first / last step", *(f"{row['run']} (tau {row['tau']})" for row in rows)], ["---"] * (len(rows) + 1)]
    for name, text, decimals in QUANTITIES:
        values = [[row[key] for key in (f"{name}_first", f"{name}_last") if key in row] for row in rows]
        cells = [" / ".join(f"{value:.{decimals}f}" for value in own).replace("nan", "-") for own in values]
        lines.append([text, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write(rows: Sequence[Mapping[str, float | str]], path: Path) -> None:
    """A CSV file with a line for each run; what a run of one step has not is left empty."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def main(command_line: Sequence[str] | None = None) -> int:
    """Measure the runs; the exit code is 1, with one line on stderr, where one cannot be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder OUT/PLAN/ROW/seedN")
    parser.add_argument("--dataset_dir", required=True, help="data folder of the bundle")
    parser.add_argument("--bundle", type=Path, default=BUNDLE, help="that the plan was carried out with")
    parser.add_argument("--pairs", type=int, default=4, help="pairs of each kind; default 4")
    parser.add_argument("--samples", type=int, default=16, help="latents drawn for field and Dice; default 16")
    parser.add_argument("--groups", type=int, default=8, help="groups of the run's J drawn for gradients; default 8")
    parser.add_argument("--out", type=Path, default=Path("latent.csv"), help="CSV file, replaced; default latent.csv")
    args = parser.parse_args(command_line)
    for name, value in (("pairs", args.pairs), ("samples", args.samples), ("groups", args.groups)):
        if value < 2:
            parser.error(f"--{name} must be at least 2, got {value}")
    rows: list[dict[str, float | str]] = []
    try:
        for folder in args.runs:
            run = load_run(folder, args.bundle.resolve(), args.dataset_dir)
            rows.append(analyse(run, args.pairs, args.samples, args.groups))
            write(rows, args.out)
    except (FileNotFoundError, ValueError) as error:
        print(f"latent.py: {error}", file=sys.stderr)
        return 1
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
