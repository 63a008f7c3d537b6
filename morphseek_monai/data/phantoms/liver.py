"""The liver phantom: CT-like abdomens of different patients, each on a grid of its own, as MSD Task03_Liver."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from numpy.typing import NDArray

from morphseek_monai.base.records import write_json

from ..layouts.lits import LITS_LABELS
from ..scans.stored import write_nifti
from .anatomy import Anatomy, Array, Structure, torso
from .render import make_scan

__all__ = ["liver", "write_liver_json", "write_liver_scan"]

_GEOMETRY = 999  # keeps the draws of the grid apart from those of the anatomy
_LIVER_CENTRE = np.array([0.36, 0.06, 0.24])
_ORIENTATIONS = ("RAS", "LPS", "LAS")  # of NIfTI, of DICOM, and a left-handed one


def liver(tumours: Array) -> Anatomy:
    """The CT of :func:`~morphseek_monai.data.phantoms.anatomy.torso` with tumours and on a scanner's table.

    Args:
        tumours: centres and radii ``(T, 4)`` in half fields of view; T may be 0.
    """

    def tumour(position: Array) -> NDArray[np.bool_]:
        inside = np.zeros(position.shape[1:], dtype=bool)
        for *centre, radius in tumours:
            inside |= sum((p - c) ** 2 for p, c in zip(position, centre)) < radius**2
        return inside

    def table(position: Array) -> NDArray[np.bool_]:
        x, y, _ = position
        on_table: NDArray[np.bool_] = (np.abs(x) < 0.7) & (np.abs(y + 0.86) < 0.05)
        return on_table

    structures = []
    for organ in torso().structures:
        label = 1 if organ.name == LITS_LABELS[1] else 0
        structures.append(organ._replace(label=label, signal={"0000": organ.signal["0001"]}))
        if label and len(tumours):
            structures.append(Structure(LITS_LABELS[2], 2, {"0000": 40.0}, tumour))
    return torso()._replace(
        task="liver",
        modality={"0000": "CT"},
        air={"0000": -1000.0},
        noise={"0000": 18.0},
        jitter={"0000": 8.0},
        bias={"0000": 0.0},
        scale={"0000": 1.0},
        structures=(*structures, Structure("table", 0, {"0000": 150.0}, table)),
    )


def write_liver_scan(folder: Path, subject: int, shape: tuple[int, int, int], seed: int) -> None:
    """Write one patient: size, voxel size, position, scan range and orientation are the patient's own.

    Every third patient has no tumour, the others one or two.

    Args:
        folder: of the data set.
        subject: the case number.
        shape: voxels ``(X, Y, Z)``, give or take an eighth.
        seed: of the data set.
    """
    rng = np.random.default_rng((seed, subject, _GEOMETRY))
    tumours = np.zeros((subject % 3, 4))
    for tumour in tumours:
        direction = rng.normal(size=3)
        tumour[:3] = _LIVER_CENTRE + 0.2 * direction / np.linalg.norm(direction)
        tumour[3] = rng.uniform(0.10, 0.14)
    anatomy = liver(tumours)
    size = np.array([n + rng.integers(0, n // 8 + 1) for n in shape])
    scan = make_scan(anatomy, "0000", subject, (int(size[0]), int(size[1]), int(size[2])), seed)

    affine = np.diag([*(anatomy.field_of_view * rng.uniform(0.9, 1.1) / size), 1.0])
    affine[:3, 3] = rng.uniform(-200, 200, 3)
    first, cut = rng.integers(0, shape[2] // 8 + 1, 2)  # slices that the scan leaves out at either end
    kept = slice(int(first), int(size[2] - cut))
    affine[2, 3] += first * affine[2, 2]
    axes = _ORIENTATIONS[subject % len(_ORIENTATIONS)]
    turn = ornt_transform(io_orientation(affine), axcodes2ornt(axes))  # type: ignore[no-untyped-call]
    for place, array in (("imagesTr", scan.image), ("labelsTr", scan.label)):
        image: Any = nib.Nifti1Image(array[:, :, kept], affine)  # type: ignore[no-untyped-call]
        turned = image.as_reoriented(turn)
        write_nifti(folder / place / f"liver_{subject}.nii.gz", np.asarray(turned.dataobj), turned.affine)


def write_liver_json(path: Path, training: range, validation: range) -> None:
    """Write ``dataset.json``; unlike the original it lists the held-out cases, under ``validation``.

    Args:
        path: the file.
        training: case numbers.
        validation: case numbers.
    """

    def entries(cases: range) -> list[dict[str, str]]:
        return [
            {"image": f"./imagesTr/liver_{i}.nii.gz", "label": f"./labelsTr/liver_{i}.nii.gz"} for i in cases
        ]

    content = {
        "name": "Liver",
        "description": "Synthetic phantoms in the layout of MSD Task03_Liver",
        "licence": "no conditions (generated)",
        "tensorImageSize": "3D",
        "modality": {"0": "CT"},
        "labels": {str(index): name for index, name in LITS_LABELS.items()},
        "numTraining": len(training),
        "training": entries(training),
        "validation": entries(validation),
        "numTest": 0,
        "test": [],
    }
    write_json(path, content)
