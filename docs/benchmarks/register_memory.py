"""Compare the estimated with the measured peak memory of `morphseek register`; prints a Markdown table.

Each line is a process of its own, report included; its peak is what the kernel says of it afterwards.

Run: python docs/benchmarks/register_memory.py [--bundle morphseek_brain_mri_oasis] [--only 0 3]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.ndimage import zoom

Size = tuple[int, int, int]
SMALL, BRAIN, LARGE = (80, 96, 112), (160, 192, 224), (256, 256, 256)
# fixed image, moving image, options
RUNS: tuple[tuple[Size, Size, str], ...] = (
    (SMALL, SMALL, ""),
    (BRAIN, BRAIN, ""),
    (LARGE, LARGE, ""),
    (SMALL, LARGE, ""),
    (LARGE, SMALL, ""),
    (LARGE, LARGE, "--max_memory 4G"),
    (LARGE, LARGE, "--max_memory 2.5G"),
    (SMALL, SMALL, "--samples 2"),
    (SMALL, SMALL, "--refine 2"),
)


def write_head(path: Path, size: Size, seed: int) -> None:
    """An ellipsoid of random, smooth contrast that fills 190 mm of a field of view of 224 mm, 16 bits a voxel."""
    spacing = 224 / max(size)
    axes = [(np.arange(n) - (n - 1) / 2) * spacing / 95 for n in size]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    coarse = np.random.default_rng(seed).random([max(8, round(n * spacing / 12)) for n in size], dtype=np.float32)
    contrast = zoom(coarse, [n / m for n, m in zip(size, coarse.shape)], order=1)
    values = ((x**2 + (1.1 * y) ** 2 + z**2 < 1) * (300 + 700 * contrast)).astype(np.int16)
    affine = np.diag([spacing] * 3 + [1.0])
    affine[:3, 3] = -spacing * (np.array(size) - 1) / 2
    nib.save(nib.Nifti1Image(values, affine), path)


def measure(fixed: Path, moving: Path, out: Path, bundle: str, options: str) -> tuple[float, float, float]:
    """Estimated and measured peak in GiB, and seconds."""
    command = [sys.executable, "-m", "morphseek_monai", "register", f"--fixed={fixed}", f"--moving={moving}"]
    command += [f"--out={out}", f"--bundle={bundle}", *options.split()]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1, 3):  # the verdict on such images does not matter
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    record = json.loads((out / "result.json").read_text())
    return record["estimated_memory_mib"] / 2**10, usage.ru_maxrss / 2**20, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bundle", default="morphseek_brain_mri_oasis")
    parser.add_argument("--only", type=int, nargs="*", help="numbers of the lines to run, from 0")
    args = parser.parse_args()
    print("| fixed image | moving image | options | estimated | measured | estimate is off by | s |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        for number, (fixed, moving, options) in enumerate(RUNS):
            if args.only is not None and number not in args.only:
                continue
            folder = Path(temporary) / str(number)
            folder.mkdir()
            for seed, (name, size) in enumerate((("fixed", fixed), ("moving", moving))):
                write_head(folder / f"{name}.nii.gz", size, seed)
            images = (folder / "fixed.nii.gz", folder / "moving.nii.gz")
            estimated, measured, seconds = measure(*images, folder / "out", args.bundle, options)
            sizes = (" x ".join(map(str, size)) for size in (fixed, moving))
            cells = [*sizes, options, f"{estimated:.2f} GiB", f"{measured:.2f} GiB"]
            print(f"| {' | '.join(cells)} | {100 * (estimated / measured - 1):+.0f} % | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
