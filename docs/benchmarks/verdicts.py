"""What `morphseek register` says of real pairs that belong together and of such that do not; prints a Markdown table.

Run: python docs/benchmarks/verdicts.py --data DATA   (folders as for real.py)
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from morphseek_monai import register
from morphseek_monai.registration import find_bundle, load_model

BRAINS = "brain_t1_malc2012/images/MALC_{}_0000.nii.gz"
CROPS = "hippocampus_mr_msd/images/hippocampus_{}_0000.nii.gz"
LUNGS = "lung_proton_mr/images/LUNGMR_{}_0000.nii.gz"
MICE = "mouse_brain_mr_fvb/images/MOUSE_{}_0000.nii.gz"


def mirrored(image: Any, axis: int) -> Any:
    """The voxels in reverse order, the header as it is."""
    return nib.Nifti1Image(np.flip(np.asarray(image.dataobj), axis).copy(), image.affine)


def cases(data: Path) -> Iterator[tuple[str, Any, Any]]:
    """Name, fixed and moving image."""

    def scan(name: str, number: str) -> Any:
        return nib.load(data / name.format(number))

    brain, other_brain = scan(BRAINS, "1004"), scan(BRAINS, "1005")
    crop, other_crop = scan(CROPS, "336"), scan(CROPS, "352")
    lungs, mouse = scan(LUNGS, "0011"), scan(MICE, "0005")
    yield "brains of two people", brain, other_brain
    yield "hippocampi of two people", scan(CROPS, "340"), scan(CROPS, "355")
    yield "lungs of two people", lungs, scan(LUNGS, "0012")
    yield "two mice", mouse, scan(MICE, "0006")
    yield "brains, the second front to back", brain, mirrored(other_brain, 1)
    yield "brains, the second upside down", brain, mirrored(other_brain, 2)
    yield "hippocampi, the second front to back", crop, mirrored(other_crop, 1)
    yield "hippocampi, the second upside down", crop, mirrored(other_crop, 2)
    yield "hippocampus and lungs", crop, lungs
    yield "hippocampus and mouse", crop, mouse
    yield "brain and mouse", brain, mouse
    yield "lungs and brain", lungs, brain
    noise = np.random.default_rng(0).random((40, 50, 40), dtype=np.float32)
    yield "hippocampus and noise", crop, nib.Nifti1Image(noise, crop.affine)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    model = load_model(find_bundle("morphseek_brain_mri_oasis"))
    print("| pair | verdict | similarity | not good |")
    print("|---|---|---|---|")
    for name, fixed, moving in cases(parser.parse_args().data):
        result = register(fixed, moving, bundle=model)
        similarity = next(check.value for check in result.checks if check.name == "similarity")
        bad = [f"{check.name} {check.value:.2g}" for check in result.checks if check.outcome != "succeeded"]
        print(f"| {name} | {result.verdict} | {similarity:.2f} | {', '.join(bad)} |", flush=True)


if __name__ == "__main__":
    main()
