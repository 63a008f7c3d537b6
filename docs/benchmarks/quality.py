"""What samples and more steps buy on the validation pairs, and what they cost.

    python docs/benchmarks/quality.py bundles/morphseek_brain_mri_oasis --dataset_dir DATA --out quality.csv --threads 1
    python docs/benchmarks/quality.py bundles/morphseek_brain_mri_oasis --table quality.csv

Every setting registers every pair on the bundle's grid, in bfloat16 where the bundle's ``amp`` says so, and is judged
with the labels, which none of the settings sees. Rows that are there already are skipped, so that the same command goes
on after an interruption. ``--settings`` chooses some by name. The time of a setting is that of the whole registration,
the default included: seconds of processor time over all threads (that a loaded machine does not stretch) and of wall
time. docs/benchmarks/quality.md has the table and what follows from it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from comparison.results import append_rows
from monai.bundle.config_parser import ConfigParser
from scipy.stats import spearmanr
from torch import Tensor

from morphseek_monai.base.records import read_csv
from morphseek_monai.data import label_names
from morphseek_monai.engines import autocast
from morphseek_monai.fields import njd_percent, warp, warp_labels
from morphseek_monai.handlers import load_weights
from morphseek_monai.inference.sampling import sample_fields
from morphseek_monai.inference.similarity import foreground, local_correlation
from morphseek_monai.inference.steps import run_steps
from morphseek_monai.metrics import RegistrationDice, RegistrationHD95
from morphseek_monai.networks import MorphSeekNet

BLOCK = 8  # voxels: edge of the cubes that spread and label errors are compared in
LEAST_TISSUE = 0.3  # share of labelled voxels for a cube to count


class Answer(NamedTuple):
    """A setting's field and, where it has one, its spread in mm."""

    ddf: Tensor
    spread: Tensor | None = None


Setting = Callable[[MorphSeekNet, Tensor, Sequence[float]], Answer]


def default(network: MorphSeekNet, pair: Tensor, spacing: Sequence[float]) -> Answer:
    """The network's own answer."""
    with torch.no_grad():
        return Answer(network(pair))


def samples(count: int, tau: float | None = None) -> Setting:
    """Best of ``count`` samples and the deterministic answer."""

    def setting(network: MorphSeekNet, pair: Tensor, spacing: Sequence[float]) -> Answer:
        found = sample_fields(network, pair, count, spacing, **({} if tau is None else {"tau": tau}))
        return Answer(found.ddf, found.spread)

    return setting


def auto(network: MorphSeekNet, pair: Tensor, spacing: Sequence[float]) -> Answer:
    """As many steps as help."""
    return Answer(run_steps(network, pair, "auto").ddf)


SETTINGS: dict[str, Setting] = {
    "default": default,
    "4 samples": samples(4),
    "8 samples": samples(8),
    "16 samples": samples(16),
    "4 samples at tau 1": samples(4, tau=1.0),
    "steps auto": auto,
}


class Row(NamedTuple):
    """One setting on one pair, a line of the CSV file.

    Attributes:
        setting: a key of :data:`SETTINGS`.
        fixed: id of the fixed image.
        moving: id of the moving image.
        threads: PyTorch was given.
        amp: whether the network ran in bfloat16.
        dice_percent: mean over the structures that both images have.
        njd_percent: voxels with a non-positive Jacobian determinant.
        hd95_mm: mean 95th percentile Hausdorff distance of the structures.
        similarity: mean squared local correlation in the fixed tissue.
        cpu_seconds: processor time of a registration.
        wall_seconds: wall time of it.
        spread_mm: mean spread in the fixed tissue; NaN without samples.
        spread_rank: rank correlation of spread and label error, see :func:`spread_rank`; NaN without samples.
    """

    setting: str
    fixed: str
    moving: str
    threads: int
    amp: bool
    dice_percent: float
    njd_percent: float
    hd95_mm: float
    similarity: float
    cpu_seconds: float
    wall_seconds: float
    spread_mm: float
    spread_rank: float


COLUMNS = {
    "Dice (%)": ("dice_percent", 2),
    "NJD (%)": ("njd_percent", 3),
    "HD95 (mm)": ("hd95_mm", 2),
    "similarity": ("similarity", 3),
    "CPU (s)": ("cpu_seconds", 1),
    "wall (s)": ("wall_seconds", 1),
    "spread (mm)": ("spread_mm", 2),
    "rank correlation": ("spread_rank", 2),
}
TEXT = ("setting", "fixed", "moving", "threads", "amp")


def spread_rank(spread: Tensor, ddf: Tensor, label: Tensor) -> float:
    """Does the spread show where the answer is wrong? Spearman's correlation over cubes of 8 voxels.

    Compared are the mean spread and the share of wrongly labelled voxels, both among the voxels that have a label in
    the fixed image, in cubes of which at least 30 % have one.

    Args:
        spread: ``(1, 1, D, H, W)``.
        ddf: the default answer's field ``(1, 3, D, H, W)``.
        label: moving and fixed labels ``(1, 2, D, H, W)``.
    """
    labelled = label[:, 1:] > 0
    wrong = (warp_labels(label[:, :1], ddf) != label[:, 1:]) & labelled
    tissue, errors, spreads = (F.avg_pool3d(x.float(), BLOCK) for x in (labelled, wrong, spread * labelled))
    counted = tissue >= LEAST_TISSUE
    return float(spearmanr(spreads[counted] / tissue[counted], errors[counted] / tissue[counted]).statistic)


def measure(name: str, setting: Setting, network: MorphSeekNet, item: Any, num_labels: int, amp: bool) -> Row:
    """Register one pair and judge the field."""
    pair = item["image"][None].as_subclass(torch.Tensor)
    label = item["label"][None].as_subclass(torch.Tensor)
    spacing = np.linalg.norm(np.asarray(item["affine"])[:3, :3], axis=0).tolist()
    with autocast(pair.device, amp):
        cpu, wall = time.process_time(), time.perf_counter()
        answer = setting(network, pair, spacing)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        reference = default(network, pair, spacing).ddf if answer.spread is not None else answer.ddf
    moving, fixed = pair[:, :1], pair[:, 1:]
    mask = foreground(fixed)
    spread, rank = float("nan"), float("nan")
    if answer.spread is not None:
        spread, rank = answer.spread[mask].mean().item(), spread_rank(answer.spread, reference, label)
    return Row(
        setting=name,
        fixed=item["fixed_id"],
        moving=item["moving_id"],
        threads=torch.get_num_threads(),
        amp=amp,
        dice_percent=100 * RegistrationDice(num_labels).measure(answer.ddf, label).nanmean().item(),
        njd_percent=njd_percent(answer.ddf).item(),
        hd95_mm=RegistrationHD95(num_labels, spacing).measure(answer.ddf, label).nanmean().item(),
        similarity=local_correlation(fixed, warp(moving, answer.ddf), mask).item(),
        cpu_seconds=cpu,
        wall_seconds=wall,
        spread_mm=spread,
        spread_rank=rank,
    )


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows so far; numbers as floats."""
    return [{key: cell if key in TEXT else float(cell) for key, cell in line.items()} for line in read_csv(path)]


def append(path: Path, row: Row) -> None:
    """Append one row, with the names of the columns if it is the first."""
    append_rows(path, Row._fields, [[f"{cell:.6g}" if isinstance(cell, float) else cell for cell in row]])


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Means over the pairs, one line a setting in the order of :data:`SETTINGS`, as Markdown."""
    present = {row["setting"] for row in rows}
    lines = [f"| setting | pairs | {' | '.join(COLUMNS)} |", "|---|---|" + "---|" * len(COLUMNS)]
    for name in (name for name in SETTINGS if name in present):
        own = [row for row in rows if row["setting"] == name]
        means = [(float(np.mean([row[column] for row in own])), digits) for column, digits in COLUMNS.values()]
        cells = ["" if np.isnan(mean) else f"{mean:.{digits}f}" for mean, digits in means]
        lines.append(f"| {name} | {len(own)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def run(args: argparse.Namespace) -> None:
    """Measure what is missing."""
    torch.set_num_threads(args.threads)
    names = args.settings.split(",") if args.settings else list(SETTINGS)
    unknown = [name for name in names if name not in SETTINGS]
    if unknown:
        raise ValueError(f"--settings must be of {list(SETTINGS)}, got {unknown}")
    config = ConfigParser()
    config.read_config(str(args.bundle / "configs" / "inference.json"))
    num_labels = len(label_names(args.dataset_dir))
    config.update({"dataset_dir": args.dataset_dir, "num_labels": num_labels, "device": "$torch.device('cpu')"})
    if args.spatial_size:
        config.update({"spatial_size": args.spatial_size})
    network = config.get_parsed_content("network").eval().requires_grad_(False)
    load_weights(args.bundle / "models" / "model.pt", network)
    pairs, amp = config.get_parsed_content("dataset"), bool(config.get_parsed_content("amp"))
    done = {(row["setting"], row["fixed"], row["moving"]) for row in read_rows(args.out)}
    with autocast(torch.device("cpu"), amp):
        default(network, pairs[0]["image"][None].as_subclass(torch.Tensor), ())  # PyTorch prepares its kernels
    for name in names:
        for i in range(min(len(pairs), args.pairs)):
            if (name, pairs[i]["fixed_id"], pairs[i]["moving_id"]) in done:
                continue
            row = measure(name, SETTINGS[name], network, pairs[i], num_labels, amp)
            append(args.out, row)
            scores = f"Dice {row.dice_percent:.2f} %, {row.cpu_seconds:.1f} s"
            print(f"{name}, {row.fixed} <- {row.moving}: {scores}", flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="folder with configs/inference.json and models/model.pt")
    parser.add_argument("--dataset_dir")
    parser.add_argument("--out", type=Path, default=Path("quality.csv"))
    parser.add_argument("--settings", help="names, separated by commas; default: all")
    parser.add_argument("--pairs", type=int, default=10**9, help="the first so many")
    parser.add_argument("--spatial_size", type=int, nargs=3, help="another grid than the bundle's")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--table", type=Path, help="print the table of a file and measure nothing")
    args = parser.parse_args(argv)
    if args.table is not None:
        print(table(read_rows(args.table)))
        return
    run(args)


if __name__ == "__main__":
    main()
