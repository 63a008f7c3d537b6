"""Unlike contrasts: T2 of one person to T1 of another, judged by silver labels; prints a Markdown table.

OpenNeuro ds000011 (PDDL): whole heads, T1 at 1 x 1.3 x 1.3 mm, T2 in slices of 5 mm, labels of a network on T1 alone.
The two scans of a person do not lie on each other by their headers: each T2 is first brought to its own T1, rigidly,
and that place is written into its header, so that the labels of the T1 hold for it. The six labels that ``real.md``
calls unreliable are left out.

Run: python docs/benchmarks/contrasts.py --data DATA/brain_t1t2_silver_ds000011
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from morphseek_monai import register

PAIRS = (1, 2), (2, 3), (3, 1)  # fixed, moving
UNRELIABLE = {3, 4, 10, 11, 15, 16}
WAYS = {"affine": {"steps": 0, "refine": "off"}, "default": {}, "network left out": {"steps": 0}}


def in_place(t1: Path, t2: Path, out: Path) -> Path:
    """The T2 with a header that places it on the T1 of the same person."""
    found = register(t1, t2, affine="rigid", **WAYS["affine"])
    image = nib.load(t2)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), np.linalg.inv(found.affine) @ image.affine), out)
    return out


def labels(image: nib.Nifti1Image) -> NDArray[np.int16]:
    return np.asarray(image.dataobj).round().astype(np.int16)


def dice(warped: NDArray[np.int16], truth: NDArray[np.int16]) -> float:
    """Mean over the reliable structures, %."""
    ids = set(np.unique(truth).tolist()) - UNRELIABLE - {0}
    both = [((warped == i), (truth == i)) for i in ids]
    return float(100 * np.mean([2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in both]))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data
    print("| fixed T1, moving T2 | how | Dice (%) | force | verdict | CPU s |\n|---|---|---|---|---|---|")
    for fixed, moving in PAIRS:
        t1, t2, own = (
            data / "images" / f"DS0011_{i:04}_{k:04}.nii.gz" for i, k in ((fixed, 0), (moving, 1), (moving, 0))
        )
        truth = labels(nib.load(data / "labels" / t1.name))
        with tempfile.TemporaryDirectory() as folder:
            placed = in_place(own, t2, Path(folder) / "t2.nii.gz")
            for how, options in WAYS.items():
                began = time.process_time()
                result = register(t1, placed, **options)
                spent = time.process_time() - began
                warped = result.warp(data / "labels" / own.name, "nearest")
                force = result.record["network"].get("optimiser", {}).get("force", "-")
                score = dice(labels(warped), truth)
                print(
                    f"| {fixed}, {moving} | {how} | {score:.1f} | {force} | {result.verdict} | {spent:.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
