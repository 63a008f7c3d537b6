"""Plot validation Dice and folding against iterations from the ``curves.csv`` files of several runs.

    python docs/benchmarks/learning_curves.py --out curves.png --baseline 59.0 \
        "warm-up=runs/warmup/eval/curves.csv" "soft Dice=runs/softdice/eval/curves.csv" "GRPO=runs/grpo/eval/curves.csv"
"""

from __future__ import annotations

import argparse
import csv

from matplotlib.figure import Figure


def read(path: str) -> tuple[list[int], list[float], list[float]]:
    """Iterations, Dice (%) and NJD (%) of the epochs that were validated."""
    with open(path, newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("val_mean_dice")]
    return (
        [int(row["iteration"]) for row in rows],
        [100 * float(row["val_mean_dice"]) for row in rows],
        [float(row["val_njd_percent"]) for row in rows],
    )


def main() -> None:
    """Read, plot, print the last and the best value of each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", help="NAME=PATH of a curves.csv")
    parser.add_argument("--out", required=True, help="picture to write")
    parser.add_argument("--baseline", type=float, help="Dice (%%) before registration")
    args = parser.parse_args()
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    dice_axes, njd_axes = figure.subplots(1, 2)
    print("| run | iterations | last Dice (%) | last NJD (%) | best Dice (%) |\n|---|---|---|---|---|")
    for run in args.runs:
        name, _, path = run.rpartition("=")
        iterations, dice, njd = read(path)
        dice_axes.plot(iterations, dice, marker=".", label=name)
        njd_axes.plot(iterations, njd, marker=".", label=name)
        print(f"| {name} | {iterations[-1]} | {dice[-1]:.2f} | {njd[-1]:.3f} | {max(dice):.2f} |")
    if args.baseline is not None:
        dice_axes.axhline(args.baseline, color="grey", linestyle=":", label="identity")
    dice_axes.set(xlabel="iterations", ylabel="Dice, validation pairs (%)")
    njd_axes.set(xlabel="iterations", ylabel="non-positive Jacobian (%)")
    dice_axes.legend()
    figure.savefig(args.out, dpi=110)


if __name__ == "__main__":
    main()
