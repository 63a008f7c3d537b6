"""When is an alignment worth it? Dice and similarity from the headers and from the alignment, by header error.

The pairs of the validation brains were aligned by their labels. Their moving headers are turned and shifted by a known
amount, the pair is registered from the headers as they are and from the alignment, and both are scored with labels::

    python docs/benchmarks/affine.py --dataset_dir DATA --out affine.csv
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import fire
import nibabel as nib
import numpy as np
import torch
from scipy.spatial.transform import Rotation

from morphseek_monai.data import validation_pairs
from morphseek_monai.data.scan import read_scan
from morphseek_monai.fields import warp
from morphseek_monai.metrics import hard_dice
from morphseek_monai.registration.bundles import find_bundle
from morphseek_monai.registration.model import load_model
from morphseek_monai.registration.native import native_field
from morphseek_monai.registration.pairing import pair_scans
from morphseek_monai.registration.similarity import foreground, local_correlation
from morphseek_monai.registration.transform import make_transform, resample


def displaced(path: str, matrix: Any) -> Any:
    """An image with its header moved."""
    image: Any = nib.load(path)
    return nib.Nifti1Image(np.asanyarray(image.dataobj), matrix @ image.affine)


def error_of(size: float, rng: np.random.Generator) -> Any:
    """A rotation by ``size`` degrees about a random axis and a shift by ``size`` mm in a random direction."""
    axis, shift = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(np.radians(size) * axis).as_matrix()
    matrix[:3, 3] = size * shift
    return matrix


def measure(dataset_dir: str, out: str, bundle: str = "morphseek_brain_mri_oasis", errors: str = "0,1,2,3,4,6") -> None:
    """Write one line per pair and header error.

    Args:
        dataset_dir: Learn2Reg's layout.
        out: CSV to write.
        bundle: whose network registers.
        errors: degrees and mm.
    """
    model, rng = load_model(find_bundle(bundle)), np.random.default_rng(0)
    rows = []
    for size in errors.split(",") if isinstance(errors, str) else errors:
        for item in validation_pairs(dataset_dir):
            fixed_item, moving_item = item["fixed"], item["moving"]
            move = error_of(float(size), rng)
            fixed = read_scan(fixed_item["image"])
            pair = pair_scans(fixed, read_scan(displaced(moving_item["image"], move)), model)
            fixed_label, moving_label = nib.load(fixed_item["label"]), displaced(moving_item["label"], move)
            truth = torch.from_numpy(np.asarray(fixed_label.dataobj).astype(np.int64))[None, None]
            row = {"error": size, "fixed": Path(fixed_item["image"]).name, "moving": Path(moving_item["image"]).name}
            starts = {"headers": (pair.by_headers, np.eye(4)), "alignment": (pair.aligned, pair.affine)}
            for name, (moving, affine) in starts.items():
                target = pair.image[:, 1:]
                with torch.no_grad():
                    ddf = model.network(torch.cat([moving, target], dim=1))
                row[f"{name}_similarity"] = float(local_correlation(target, warp(moving, ddf), foreground(target)))
                field = native_field(ddf, pair.grid, fixed.grid, foreground(target)).ddf
                transform = make_transform(affine, field, fixed.grid)
                labels = np.asarray(moving_label.dataobj).astype(np.int32)
                warped = resample(labels, moving_label.affine, transform, fixed.grid, "nearest").astype(np.int64)
                dice = hard_dice(truth, torch.from_numpy(warped)[None, None], num_labels=int(truth.max()) + 1)
                row[f"{name}_dice"] = float(dice.nanmean())
            rows.append(row)
            sys.stderr.write(json.dumps(row) + "\n")
    with open(out, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    fire.Fire(measure)
