"""Read a Learn2Reg folder: ``imagesTr``, ``labelsTr``, ``masksTr`` and ``<TASK>_dataset.json``.

The functions return plain lists of dictionaries for ``train#dataset#data`` and ``validate#dataset#data`` of a
bundle::

    "imports": ["$from morphseek_monai.data import training_subjects, validation_pairs"],
    "train":    {"dataset": {"_target_": "morphseek_monai.data.PairDataset",
                             "data": "$training_subjects(@dataset_dir)", ...}},
    "validate": {"dataset": {"_target_": "morphseek_monai.data.PairDataset",
                             "data": "$validation_pairs(@dataset_dir)", ...}}

Learn2Reg lists the validation cases among ``training`` as well; here every subject of ``registration_val`` is
taken out of the training lists.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import DataError
from .files import require_file
from .learn2reg_json import find_dataset_json, read_dataset_json
from .naming import parse_name, stem
from .subjects import check_disjoint, subject_of

__all__ = ["label_names", "training_pairs", "training_subjects", "validation_pairs"]

Subject = dict[str, str]
Pair = dict[str, Subject]

_FOLDERS = {"label": "labels", "mask": "masks"}


def training_subjects(dataset_dir: str | os.PathLike[str], json: str | None = None) -> list[Subject]:
    """List the training images without the subjects of ``registration_val``.

    Args:
        dataset_dir: the Learn2Reg folder.
        json: see :func:`~morphseek_monai.data.find_dataset_json`.

    Returns:
        subjects with ``image``, ``label`` and ``mask`` (paths, where given), ``id``, ``subject``,
        ``modality``.

    Raises:
        DataError: a missing file, no entry left, or an image of a validation subject under another name.
    """
    path = find_dataset_json(dataset_dir, json)
    content = read_dataset_json(path)
    entries = content.get("training") or [
        {"image": pair[end]}
        for pair in content.get("training_paired_images", [])
        for end in ("fixed", "moving")
    ]
    subjects = {entry["image"]: _subject(path.parent, entry) for entry in map(_entry, entries)}
    validation, held_out = _held_out(path, content)
    kept = [subject for subject in subjects.values() if subject_of(subject) not in held_out]
    if not kept:
        raise DataError(
            f"{path} leaves no training subject without those of registration_val; correct its 'training'"
        )
    check_disjoint(kept, validation)
    return kept


def training_pairs(dataset_dir: str | os.PathLike[str], json: str | None = None) -> list[Pair]:
    """List ``training_paired_images`` without the subjects of ``registration_val``.

    Args:
        dataset_dir: the Learn2Reg folder.
        json: see :func:`~morphseek_monai.data.find_dataset_json`.

    Returns:
        pairs ``{"fixed": subject, "moving": subject}``.

    Raises:
        DataError: a missing file, or no pair left.
    """
    path = find_dataset_json(dataset_dir, json)
    content = read_dataset_json(path)
    validation, held_out = _held_out(path, content)
    pairs = [
        pair
        for pair in _pairs(path, content, "training_paired_images")
        if not held_out & {subject_of(pair["fixed"]), subject_of(pair["moving"])}
    ]
    if not pairs:
        raise DataError(
            f"{path} has no 'training_paired_images' without the subjects of registration_val;"
            " pair its subjects with training_subjects()"
        )
    check_disjoint(pairs, validation)
    return pairs


def validation_pairs(dataset_dir: str | os.PathLike[str], json: str | None = None) -> list[Pair]:
    """List ``registration_val``.

    Args:
        dataset_dir: the Learn2Reg folder.
        json: see :func:`~morphseek_monai.data.find_dataset_json`.

    Returns:
        pairs ``{"fixed": subject, "moving": subject}``.

    Raises:
        DataError: a missing file, or no such list.
    """
    path = find_dataset_json(dataset_dir, json)
    pairs = _pairs(path, read_dataset_json(path), "registration_val")
    if not pairs:
        raise DataError(
            f"{path} has no 'registration_val' pairs; add {{'fixed': image, 'moving': image}} entries"
        )
    return pairs


def label_names(dataset_dir: str | os.PathLike[str], json: str | None = None) -> dict[int, str]:
    """Read the names of the label ids, background included.

    Args:
        dataset_dir: the Learn2Reg folder.
        json: see :func:`~morphseek_monai.data.find_dataset_json`.

    Returns:
        ``{0: "background", 1: ...}``; its length is ``num_labels`` where the ids are contiguous.

    Raises:
        DataError: the file names no labels.
    """
    path = find_dataset_json(dataset_dir, json)
    labels = read_dataset_json(path).get("labels", {})
    # one table per modality; they agree, since a label map has the same ids whatever it was drawn on
    table = next(iter(labels.values()), None)
    table = table if isinstance(table, Mapping) else labels
    if not table:
        raise DataError(f"{path} has no 'labels'; add {{'0': {{'0': 'background', '1': ...}}}}")
    return {0: "background"} | {int(index): str(name) for index, name in table.items()}


def _entry(entry: Any) -> dict[str, str]:
    # some tasks list bare image paths
    return {"image": entry} if isinstance(entry, str) else dict(entry)


def _held_out(path: Path, content: Mapping[str, Any]) -> tuple[list[Pair], set[str]]:
    """The validation pairs, and the subjects that training must not see."""
    validation = _pairs(path, content, "registration_val")
    return validation, {subject_of(pair[end]) for pair in validation for end in ("fixed", "moving")}


def _pairs(path: Path, content: Mapping[str, Any], key: str) -> list[Pair]:
    return [
        {end: _subject(path.parent, {"image": entry[end]}) for end in ("fixed", "moving")}
        for entry in content.get(key, [])
    ]


def _subject(folder: Path, entry: Mapping[str, str]) -> Subject:
    image = entry["image"]
    subject = {"image": os.path.normpath(folder / image)}
    require_file(subject["image"], "image")
    for key, name in _FOLDERS.items():
        if key in entry:
            subject[key] = os.path.normpath(folder / entry[key])
            require_file(subject[key], key)
        else:
            # pairs list images only; labels and masks have the same names in labelsTr and masksTr
            derived = folder / image.replace("images", name, 1)
            if "images" in image and derived.is_file():
                subject[key] = os.path.normpath(derived)
    subject["id"] = stem(image)
    parts = parse_name(image)
    subject["subject"] = f"{parts.task}_{parts.case}" if parts else subject["id"]
    subject["modality"] = parts.modality if parts else ""
    return subject
