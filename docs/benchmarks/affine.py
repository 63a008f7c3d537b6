"""Dice after the affine alignment alone, on scans with labels that people drew, beside greedy's affine.

Every tool gets the files as they are; labels are carried over with the nearest neighbour. One thread each::

    export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
    python docs/benchmarks/affine.py run --data DATA --split report --out affine.csv
    python docs/benchmarks/affine.py table affine.csv

greedy (``pip install picsl-greedy``) runs where it is installed, as its manual has it for scans of any position.
"""

from __future__ import annotations

import csv
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import fire
import nibabel as nib
import numpy as np
import torch
from scans.pairs import Pair, load_pairs, set_names
from scans.scores import score
from scipy import ndimage

from morphseek_monai.registration.alignment.align import align
from morphseek_monai.registration.alignment.reading import shrink
from morphseek_monai.space.grid import Grid
from morphseek_monai.space.image import Image

VOXELS_ALONG = 112  # as many as a registration's grid has, about
GREEDY = "-d 3 -threads 1 -a -dof 12 -ia-image-centers -m NCC 2x2x2 -n 100x50x10 -V 0"


def small(path: str) -> tuple[Any, Grid]:
    """A scan with about 112 voxels along its longest axis."""
    image: Any = nib.load(path)
    whole = Image(image.get_fdata(dtype=np.float32), image.affine)
    reduced = shrink(whole, float(whole.extent.max()) / VOXELS_ALONG)
    return reduced.array, reduced.grid


def headers(pair: Pair, seed: int) -> tuple[Any, float, str]:
    """Nothing at all."""
    return np.eye(4), 0.0, ""


def ours(pair: Pair, seed: int) -> tuple[Any, float, str]:
    """The map of this package, its seconds of processor time (reading not counted), and what it remarks."""
    fixed, moving = small(pair.fixed_image), small(pair.moving_image)
    start = time.process_time()
    found = align(*fixed, *moving, seed=seed)
    return found.matrix, time.process_time() - start, "; ".join((found.start, *found.notices))


def greedy(pair: Pair, seed: int) -> tuple[Any, float, str]:
    """greedy's map, and its seconds of processor time with reading."""
    from picsl_greedy import Greedy3D

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "affine.mat")
        start = time.process_time()
        Greedy3D().execute(f"{GREEDY} -i {pair.fixed_image} {pair.moving_image} -o {out}")
        return np.loadtxt(out), time.process_time() - start, ""


def dice_of(pair: Pair, matrix: Any) -> float:
    """Mean Dice (%) of the structures of the fixed scan."""
    fixed, moving = nib.load(pair.fixed_label), nib.load(pair.moving_label)
    voxels = np.linalg.inv(moving.affine) @ matrix @ fixed.affine  # type: ignore[attr-defined]
    labels = np.rint(np.asarray(moving.dataobj)).astype(np.int16)  # type: ignore[attr-defined]
    warped = ndimage.affine_transform(labels, voxels, output_shape=fixed.shape, order=0)  # type: ignore[attr-defined]
    return score(np.rint(np.asarray(fixed.dataobj)).astype(np.int16), warped, distances=False).dice  # type: ignore[attr-defined]


def run(
    data: str, out: str, split: str = "report", sets: str = "", tools: str = "headers,ours,greedy", seed: int = 0
) -> None:
    """Write one line per pair and tool.

    Args:
        data: folder that holds the folders of the sets of real_pairs.json.
        out: CSV to write.
        split: ``tune`` or ``report``.
        sets: names of sets, apart by commas; default all.
        tools: ``headers``, ``ours``, ``greedy``.
        seed: of the alignment.
    """
    torch.set_num_threads(1)
    chosen = sets if isinstance(sets, tuple | list) else [name for name in sets.split(",") if name] or set_names()
    rows = []
    for name in chosen:
        for pair in load_pairs(data, split, name):
            for tool in tools if isinstance(tools, tuple | list) else tools.split(","):
                matrix, seconds, remarks = {"headers": headers, "ours": ours, "greedy": greedy}[tool](pair, seed)
                dice = dice_of(pair, matrix)
                row = {"set": name, "split": split, "fixed": pair.fixed, "moving": pair.moving, "tool": tool}
                rows.append({**row, "dice": round(dice, 3), "cpu": round(seconds, 3), "remarks": remarks})
                sys.stderr.write(f"{name} {pair.fixed} {tool} {dice:.1f} {seconds:.1f} {remarks}\n")
    with open(out, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def table(path: str) -> None:
    """Print means and the worst pair of each set as Markdown."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    tools = list(dict.fromkeys(row["tool"] for row in rows))
    print("| set | pairs | " + " | ".join(tools) + " | CPU s, " + " / ".join(tools[1:]) + " |")
    print("|---" * (len(tools) + 3) + "|")
    for name in dict.fromkeys(row["set"] for row in rows):
        cells, seconds = [], []
        for tool in tools:
            own = [row for row in rows if row["set"] == name and row["tool"] == tool]
            dice = [float(row["dice"]) for row in own]
            cells.append(f"{np.mean(dice):.1f} ({min(dice):.1f})")
            seconds.append(f"{np.mean([float(row['cpu']) for row in own]):.1f}")
        print(f"| {name} | {len(own)} | " + " | ".join(cells) + " | " + " / ".join(seconds[1:]) + " |")


if __name__ == "__main__":
    fire.Fire({"run": run, "table": table})
