"""Does the uncertainty map show how far off a registration is? Map against label error at boundaries, in mm.

    python docs/benchmarks/uncertainty.py measure --data DATA --split tune --out OUT
    python docs/benchmarks/uncertainty.py fit OUT
    python docs/benchmarks/uncertainty.py measure --data DATA --split report --out OUT
    python docs/benchmarks/uncertainty.py table OUT --split report

Points of the boundaries of the fixed labels are mapped to the moving image; the error is their distance from the
boundary of the same label there. What is measured already is skipped. docs/benchmarks/uncertainty.md has the tables.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scans.pairs import SPLITS, Pair, load_pairs, set_names
from scipy.ndimage import distance_transform_edt, map_coordinates
from scipy.optimize import minimize
from scipy.spatial import cKDTree
from scipy.stats import spearmanr

from morphseek_monai import register
from morphseek_monai.inference.expected_error import EXPONENT, FACTOR

MOST_POINTS = 20_000  # of a pair
CUBE = 8  # voxels of the fixed label map: edge of the cubes whose means are compared, too
LEAST_POINTS = 10  # of a cube, and of a label
REACH = 25  # voxels around a label in which distances are known
RING = (2.0, 4.0)  # voxels: neighbours that tell of a point's error as much as a smooth map can
RING_POINTS = 2000  # of a pair, for which they are looked for
BINS = 5
FITTED = ("hippocampi", "silver")  # sets whose terms allow it
Points = NDArray[np.float64]


class Measured(NamedTuple):
    """The points of one pair.

    Attributes:
        voxels: ``(N, 3)`` of the fixed label map.
        labels: ``(N,)``.
        errors: ``(N,)`` in mm.
        expected: ``(N,)`` in mm, by the map.
        size: mm, of the voxels that the map was made on.
    """

    voxels: Points
    labels: NDArray[Any]
    errors: Points
    expected: Points
    size: float


def boundary(label: NDArray[Any]) -> tuple[Points, NDArray[Any]]:
    """Centres of the faces between voxels of different labels, ``(N, 3)``, once for each of the labels that meet."""
    points, labels = [], []
    for axis in range(3):
        before, after = (np.moveaxis(label, axis, 0)[part] for part in (slice(None, -1), slice(1, None)))
        found = np.moveaxis(np.argwhere(before != after), 1, 0)
        faces = np.insert(found[1:].astype(float), axis, found[0] + 0.5, axis=0).T
        for side in (before[tuple(found)], after[tuple(found)]):
            points.append(faces[side > 0])
            labels.append(side[side > 0])
    return np.concatenate(points), np.concatenate(labels)


def distances(points: Points, mask: NDArray[np.bool_], spacing: Any) -> Points:
    """How far points, in voxels, are from the boundary of a mask, in the unit of the spacing; beyond 25 voxels the
    outermost."""
    where = np.argwhere(mask)
    first, last = np.maximum(where.min(0) - REACH, 0), where.max(0) + REACH + 1
    box = mask[tuple(map(slice, first, last))]
    half = float(np.mean(spacing)) / 2  # a voxel's centre is half a voxel from the face
    inside, outside = (distance_transform_edt(part, spacing) for part in (box, ~box))
    signed = np.where(box, half - inside, outside - half)
    return np.abs(map_coordinates(signed, (points - first).T, order=1, mode="nearest"))


def measure(pair: Pair) -> Measured:
    """Register one pair and compare."""
    fixed, moving = (nib.load(path) for path in (pair.fixed_label, pair.moving_label))
    truth, source = (np.rint(np.asarray(image.dataobj)).astype(int) for image in (fixed, moving))
    result = register(pair.fixed_image, pair.moving_image, uncertainty=True)
    voxels, labels = boundary(truth)
    counted = np.isin(labels, np.unique(source) if pair.inner is None else np.intersect1d(source, pair.inner))
    chosen = np.flatnonzero(counted)
    if len(chosen) > MOST_POINTS:
        chosen = np.sort(np.random.default_rng(0).choice(chosen, MOST_POINTS, replace=False))
    voxels, labels = voxels[chosen], labels[chosen]
    mapped = nib.affines.apply_affine(
        np.linalg.inv(moving.affine), result.map_points(nib.affines.apply_affine(fixed.affine, voxels))
    )
    spacing = np.linalg.norm(moving.affine[:3, :3], axis=0)
    errors = np.zeros(len(voxels))
    for label in np.unique(labels):
        own = labels == label
        errors[own] = distances(mapped[own], source == label, spacing)
    expected = map_coordinates(result.uncertainty, voxels.T, order=1, mode="nearest")
    grid = result.record["network"]["optimiser"]["grid"]["spacing"]
    return Measured(voxels, labels, errors, expected, float(np.prod(grid) ** (1 / 3)))


def means(groups: NDArray[Any], *values: Points) -> list[Points]:
    """Means of values over the groups that have enough points; ``groups`` is ``(N,)`` or ``(N, D)``."""
    _, index = np.unique(groups, axis=0, return_inverse=True)
    count = np.bincount(index.ravel())
    return [(np.bincount(index.ravel(), value) / count)[count >= LEAST_POINTS] for value in values]


def rank(one: Points, other: Points) -> float:
    """Spearman's correlation; NaN for fewer than five."""
    return float(spearmanr(one, other).statistic) if len(one) >= 5 else float("nan")


def neighbours_rank(measured: Measured) -> float:
    """How well the mean error of the points 2 to 4 voxels away ranks errors: the map of one who knows them."""
    chosen = np.random.default_rng(0).permutation(len(measured.errors))[:RING_POINTS]
    tree, points = cKDTree(measured.voxels), measured.voxels[chosen]
    near, far = (tree.query_ball_point(points, radius) for radius in RING)
    rings = [list(set(outer) - set(inner)) for inner, outer in zip(near, far)]
    known = np.array([len(around) >= BINS for around in rings])
    best = np.array([measured.errors[around].mean() for around in rings if len(around) >= BINS])
    return rank(best, measured.errors[chosen][known])


def coefficients(pairs: Sequence[Measured], known: tuple[float, float] = (FACTOR, EXPONENT)) -> tuple[float, float]:
    """Factor and exponent of the expected error, as a mean of errors of exponential distribution, all pairs alike.

    Args:
        pairs: measured with a map.
        known: factor and exponent of that map.
    """
    logs = [np.log(pair.expected / pair.size / known[0]) / known[1] for pair in pairs]
    x, y = np.concatenate(logs), np.concatenate([pair.errors / pair.size for pair in pairs])
    weight = np.concatenate([np.full(len(pair.errors), 1 / len(pair.errors) / len(pairs)) for pair in pairs])

    def loss(b: Points) -> float:
        eta = b[0] + b[1] * x
        return float((weight * (eta + y * np.exp(-eta))).sum())

    log_factor, exponent = minimize(loss, np.zeros(2)).x
    return float(np.exp(log_factor)), float(exponent)


def summary(name: str, pairs: Sequence[Measured]) -> str:
    """A line of the table: rank correlations, means over the pairs, and expected and observed error."""
    ranks = []
    for pair in pairs:
        cubes = means(np.floor(pair.voxels / CUBE).astype(int), pair.expected, pair.errors)
        labels = means(pair.labels, pair.expected, pair.errors)
        ranks.append((rank(pair.expected, pair.errors), neighbours_rank(pair), rank(*cubes), rank(*labels)))
    cells = ["" if np.isnan(value) else f"{value:.2f}" for value in np.mean(ranks, axis=0)]
    cells += [f"{np.mean([getattr(pair, key).mean() for pair in pairs]):.2f}" for key in ("expected", "errors")]
    return f"| {name} | {len(pairs)} | {' | '.join(cells)} |"


def reliability(name: str, pairs: Sequence[Measured]) -> str:
    """A line of the other table: by fifths of the expected error, expected and observed mean in mm."""
    expected, errors = (np.concatenate(values) for values in zip(*((p.expected, p.errors) for p in pairs)))
    fifths = np.array_split(np.argsort(expected, kind="stable"), BINS)
    return f"| {name} | {' | '.join(f'{expected[i].mean():.2f} / {errors[i].mean():.2f}' for i in fifths)} |"


def tables(sets: dict[str, list[Measured]]) -> str:
    """Both tables, as Markdown."""
    columns = "points | by neighbours | cubes | labels | expected (mm) | observed (mm)"
    fifths = " | ".join(f"fifth {i}" for i in range(1, BINS + 1))
    lines = [f"| set | pairs | {columns} |", "|---" * 8 + "|", *(summary(*item) for item in sets.items())]
    lines += ["", f"| set | {fifths} |", "|---" * (BINS + 1) + "|", *(reliability(*item) for item in sets.items())]
    groups = {"all sets": [pair for pairs in sets.values() for pair in pairs], **sets}
    ranks = {name: pairs_rank(pairs) for name, pairs in groups.items()}
    told = ", ".join(f"{name} {value:.2f}" for name, value in ranks.items() if not np.isnan(value))
    return "\n".join([*lines, "", f"Rank correlation of the means of pairs: {told or 'too few'}."])


def pairs_rank(pairs: Sequence[Measured]) -> float:
    """Whether the mean of the map ranks registrations."""
    return rank(*(np.array([getattr(pair, key).mean() for pair in pairs]) for key in ("expected", "errors")))


def load(folder: Path, split: str, names: Sequence[str]) -> dict[str, list[Measured]]:
    """What was measured, by set."""
    sets = {}
    for name in names:
        files = sorted(folder.glob(f"{split}_{name}_*.npz"))
        found = [np.load(file) for file in files]
        if found:
            sets[name] = [Measured(*(one[key] for key in Measured._fields)) for one in found]
    return sets


def run(args: argparse.Namespace) -> None:
    """Measure what is missing."""
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.sets.split(","):
        for pair in load_pairs(args.data, args.split, name)[: args.pairs]:
            file = args.out / f"{args.split}_{name}_{pair.fixed}_{pair.moving}.npz"
            if not file.exists():
                measured = measure(pair)
                np.savez_compressed(file, **measured._asdict())
                found = f"{measured.expected.mean():.2f} mm expected, {measured.errors.mean():.2f} mm observed"
                print(f"{file.stem}: {found}", flush=True)


def main(command_line: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser("measure", help="register and compare")
    measuring.add_argument("--data", type=Path, required=True, help="folder with the folders of the sets")
    measuring.add_argument("--out", type=Path, required=True, help="folder of one file per pair")
    measuring.add_argument("--pairs", type=int, help="the first N pairs of every set only")
    fitting = commands.add_parser("fit", help=f"factor and exponent, from {' and '.join(FITTED)}")
    table = commands.add_parser("table", help="print Markdown")
    for reader in (fitting, table):
        reader.add_argument("out", type=Path, help="folder that measure wrote")
    for command in (measuring, table):
        command.add_argument("--split", default="report", choices=SPLITS, help="default report")
        command.add_argument("--sets", default=",".join(set_names()), help="comma-separated; default all")
    args = parser.parse_args(command_line)
    if args.command == "measure":
        run(args)
    elif args.command == "fit":
        sets = load(args.out, "tune", FITTED)
        factor, exponent = coefficients([pair for pairs in sets.values() for pair in pairs])
        print(f"factor {factor:.3f}, exponent {exponent:.3f}")
    else:
        print(tables(load(args.out, args.split, args.sets.split(","))))


if __name__ == "__main__":
    main()
