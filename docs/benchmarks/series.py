"""How exact motion correction is on heads whose motion is known, and what interpolation costs.

    python docs/benchmarks/series.py

Each series has eight volumes of one head, a function of position, drawn where the motion puts it, with noise. Errors
are those of ``morphseek align-series`` at points of the head, and of a corrected volume and the mean against the head
without noise. docs/benchmarks/series.md has the table.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from scipy.spatial.transform import Rotation

from morphseek_monai.registration import align_series, map_points, read_transform

SIZE, SPACING = (48, 56, 36), (3.5, 3.5, 4.0)
AFFINE = np.diag([*SPACING, 1.0])
AFFINE[:3, 3] = -np.array(SPACING) * (np.array(SIZE) - 1) / 2
VOLUMES, HEIGHT = 8, 600.0
RADII = np.array([64.0, 80.0, 60.0])  # mm


def head(points: Any) -> Any:
    """Intensity at points ``(..., 3)``, RAS mm: an ellipsoid with forty blobs in it."""
    draw = np.random.default_rng(0)
    value = 1 / (1 + np.exp((np.sqrt(((points / RADII) ** 2).sum(-1)) - 1) * 20))
    for centre, sign in zip(draw.uniform(-0.7, 0.7, (40, 3)) * RADII, draw.uniform(-0.6, 1, 40)):
        value = value + sign * np.exp(-((points - centre) ** 2).sum(-1) / 120)
    return HEIGHT * value


def volume(pose: Any) -> Any:
    """The head without noise, where a pose puts it."""
    points = np.moveaxis(np.indices(SIZE), 0, -1) @ AFFINE[:3, :3].T + AFFINE[:3, 3]
    back = np.linalg.inv(pose)
    return head(points @ back[:3, :3].T + back[:3, 3])


def measure(motion: float, noise: float, interpolation: str) -> str:
    """One line of the table."""
    draw = np.random.default_rng(1)
    poses = [np.eye(4) for _ in range(VOLUMES)]
    for pose in poses[1:]:  # the first, which is the reference, lies at rest
        pose[:3, :3] = Rotation.from_euler("xyz", draw.normal(0, motion, 3), degrees=True).as_matrix()
        pose[:3, 3] = draw.normal(0, motion, 3)
    series = np.stack([volume(pose) + draw.normal(0, noise * HEIGHT, SIZE) for pose in poses], axis=3)
    rest, inner = volume(np.eye(4)), (slice(6, -6),) * 3
    points = draw.uniform(-0.6, 0.6, (500, 3)) * RADII
    with tempfile.TemporaryDirectory() as folder:
        nib.save(nib.Nifti1Image(series.astype(np.float32), AFFINE), f"{folder}/series.nii.gz")
        start = time.process_time()
        align_series(f"{folder}/series.nii.gz", Path(folder, "out"), reference=0, interpolation=interpolation)
        spent = (time.process_time() - start) / VOLUMES
        away = []
        for number, pose in enumerate(poses):
            found = map_points(read_transform(f"{folder}/out/transforms/volume_{number:04d}.tfm"), points)
            away.append(np.linalg.norm(found - points @ pose[:3, :3].T - pose[:3, 3], axis=1))
        files = (f"{folder}/out/{name}.nii.gz" for name in ("corrected", "mean"))
        corrected, mean = (np.asarray(nib.load(file).dataobj) for file in files)
    errors = [100 / HEIGHT * np.abs(values - rest)[inner].mean() for values in (corrected[..., 1], mean)]
    return (
        f"| {motion:g} | {100 * noise:g} | {interpolation} | {np.mean(away):.3f} | {np.max(away):.3f} |"
        f" {errors[0]:.2f} | {errors[1]:.2f} | {spent:.2f} |"
    )


def main() -> None:
    """Print Markdown."""
    torch.set_num_threads(1)
    measure(1, 0.01, "bspline")  # what is loaded first is in no line
    print("| motion, mm and degrees | noise, % | interpolation | error, mm | most | volume, % | mean, % | CPU s |")
    print("|---" * 8 + "|")
    for motion, noise in ((0.2, 0.01), (1, 0.01), (4, 0.01)):
        for interpolation in ("bspline", "linear", "sinc") if (motion, noise) == (1, 0.01) else ("bspline",):
            print(measure(motion, noise, interpolation), flush=True)


if __name__ == "__main__":
    main()
