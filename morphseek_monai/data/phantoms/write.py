"""Labelled phantoms in public layouts: bundles, tutorials and tests that need no download."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from morphseek_monai.base.errors import DataError

from ..layouts.learn2reg_json import write_dataset_json
from ..layouts.lits_files import holds_lits17
from ..scans.stored import write_nifti
from .anatomy import Anatomy, brain, torso
from .liver import write_liver_json, write_liver_scan
from .render import make_scan

__all__ = ["KINDS", "ensure_phantom", "write_phantom"]

KINDS = ("brain", "torso", "liver")
_ANATOMIES = {"brain": brain, "torso": torso}
_FOLDERS = ("imagesTr", "labelsTr", "masksTr")


def write_phantom(
    out: str | os.PathLike[str],
    kind: str = "brain",
    subjects: int = 12,
    shape: Sequence[int] = (48, 48, 48),
    validation: int | None = None,
    seed: int = 0,
) -> Path:
    """Write a data set of labelled phantoms.

    Every subject is the canonical anatomy moved by a random diffeomorphism, so that labels before
    registration overlap with a mean Dice of about 0.6 and a registration can reach 1. Subject ``i`` depends
    on ``(seed, i, shape)`` alone.

    Args:
        out: folder to fill with ``imagesTr``, ``labelsTr``, ``masksTr`` (torso) and, last,
            ``<TASK>_dataset.json`` (liver: ``dataset.json``).
        kind: ``"brain"`` (default): one T1-like image per subject, 12 labels, pairs of different subjects.
            ``"torso"``: an MR-like ``_0000`` and a CT-like ``_0001`` image of each subject, 6 labels, pairs
            of MR (fixed) and CT (moving) of one subject. ``"liver"``: CT-like abdomens in the layout of MSD
            Task03_Liver, labels liver and tumour, pairs of different subjects, whose grids all differ in
            size, spacing, position, scan range and orientation.
        subjects: how many.
        shape: voxels ``(X, Y, Z)``, each at least 16; the field of view is a fixed cube (liver: about), so
            this sets the spacing.
        validation: how many of the last subjects are held out; None (default) is a quarter.
        seed: of everything random.

    Returns:
        the dataset json.

    Raises:
        DataError: an argument out of range, or a folder that holds other files.
    """
    if kind not in KINDS:
        raise DataError(f"write_phantom() 'kind' must be one of {', '.join(KINDS)}, got {kind!r}")
    fewest = 1 if kind == "torso" else 2  # to make one validation pair
    held_out = max(fewest, subjects // 4) if validation is None else validation
    size = tuple(int(n) for n in shape)
    if len(size) != 3 or min(size) < 16:
        raise DataError(f"write_phantom() 'shape' must be three sizes of at least 16, got {size}")
    if held_out < fewest or subjects < held_out + fewest or subjects > 9999:
        raise DataError(
            f"write_phantom() 'subjects' must be {held_out + fewest}..9999 with {held_out} for validation"
            f" (at least {fewest}), got {subjects}"
        )
    grid = (size[0], size[1], size[2])
    folder = Path(out)
    if kind == "liver":
        _refuse_foreign(folder, "liver", also=("dataset.json",))
        for subject in range(subjects):
            write_liver_scan(folder, subject, grid, seed)
        path = folder / "dataset.json"
        write_liver_json(path, range(subjects - held_out), range(subjects - held_out, subjects))
        return path
    anatomy = _ANATOMIES[kind]()
    _refuse_foreign(folder, anatomy.task)
    for subject in range(1, subjects + 1):
        for modality in anatomy.modality:
            _write_scan(folder, anatomy, modality, subject, grid, seed)
    path = folder / f"{anatomy.task}_dataset.json"
    _write_json(path, anatomy, grid, subjects, held_out)
    return path


def ensure_phantom(
    dataset_dir: str | os.PathLike[str],
    kind: str = "brain",
    subjects: int = 12,
    shape: Sequence[int] = (48, 48, 48),
    seed: int = 0,
) -> str:
    """Return ``dataset_dir``, filled with phantoms if it holds no data set yet.

    A folder with any ``*_dataset.json``, ``dataset.json`` or LiTS17 ``volume-N.nii`` is left alone, so the same
    bundle runs on a phantom by default and on real data with ``--dataset_dir``. The json is written last: an
    interrupted run is repeated, not trusted.
    Several processes may call this at once, they write the same files.

    Args:
        dataset_dir: the folder.
        kind: see :func:`write_phantom`, as the rest.
        subjects: how many.
        shape: voxels.
        seed: of everything random.

    Example:
        in a bundle: ``"data": "$training_subjects(ensure_phantom(@dataset_dir, 'brain'))"``
    """
    folder = Path(dataset_dir)
    if not any(folder.glob("*dataset.json")) and not holds_lits17(folder):
        write_phantom(dataset_dir, kind, subjects, shape, seed=seed)
    return str(dataset_dir)


def _refuse_foreign(folder: Path, task: str, also: Sequence[str] = ()) -> None:
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file; give a folder for the phantoms")
    for path in folder.rglob("*") if folder.exists() else ():
        inside = path.relative_to(folder)
        if any(part.startswith(".") for part in inside.parts):
            continue  # .gitkeep and the like, and what another process is just writing
        ours = path.name in _FOLDERS if path.is_dir() else path.name.startswith(f"{task}_") or path.name in also
        if not ours:
            raise DataError(f"{folder} holds {inside}, no {task} file; give an empty or new folder")


def _write_scan(
    folder: Path, anatomy: Anatomy, modality: str, subject: int, shape: tuple[int, int, int], seed: int
) -> None:
    scan = make_scan(anatomy, modality, subject, shape, seed)
    spacing = anatomy.field_of_view / np.array(shape)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -spacing * (np.array(shape) - 1) / 2
    name = f"{anatomy.task}_{subject:04d}_{modality}.nii.gz"
    arrays: dict[str, NDArray[np.int16] | NDArray[np.uint8]] = {
        "imagesTr": scan.image,
        "labelsTr": scan.label,
    }
    if len(anatomy.modality) > 1:
        arrays["masksTr"] = scan.mask
    for place, array in arrays.items():
        write_nifti(folder / place / name, array, affine)


def _write_json(path: Path, anatomy: Anatomy, shape: Sequence[int], subjects: int, held_out: int) -> None:
    def image(subject: int, modality: str) -> str:
        return f"./imagesTr/{anatomy.task}_{subject:04d}_{modality}.nii.gz"

    everybody = range(1, subjects + 1)
    last = range(subjects - held_out + 1, subjects + 1)
    places = {"image": "imagesTr", "label": "labelsTr"} | (
        {"mask": "masksTr"} if len(anatomy.modality) > 1 else {}
    )
    training = [
        {key: image(subject, modality).replace("imagesTr", place) for key, place in places.items()}
        for subject in everybody
        for modality in anatomy.modality
    ]
    if len(anatomy.modality) > 1:
        paired = [{"fixed": image(i, "0000"), "moving": image(i, "0001")} for i in everybody]
        chosen = paired[-held_out:]
    else:
        paired = []
        chosen = [{"fixed": image(i, "0000"), "moving": image(j, "0000")} for i, j in permutations(last, 2)]
    write_dataset_json(
        path,
        name=anatomy.task,
        shape=shape,
        modality={str(int(number)): text for number, text in anatomy.modality.items()},
        labels=anatomy.label_names(),
        training=training,
        registration_val=chosen,
        training_paired_images=paired,
        description="Synthetic phantoms: random diffeomorphisms of one canonical anatomy",
        licence="no conditions (generated)",
    )
