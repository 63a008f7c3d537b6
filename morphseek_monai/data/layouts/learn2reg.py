"""Read a Learn2Reg folder: ``imagesTr``, ``labelsTr``, ``masksTr`` and ``<TASK>_dataset.json``.

The functions return plain lists of dictionaries for ``train#dataset#data`` and ``validate#dataset#data`` of a
bundle::

    "imports": ["$from morphseek_monai.data import training_subjects, validation_pairs"],
    "train":    {"dataset": {"_target_": "morphseek_monai.data.PairDataset",
                             "data": "$training_subjects(@dataset_dir)", ...}},
    "validate": {"dataset": {"_target_": "morphseek_monai.data.PairDataset",
                             "data": "$validation_pairs(@dataset_dir)", ...}}

Learn2Reg lists the validation cases among ``training`` as well; here every subject of ``registration_val`` and
``registration_test`` is taken out of the training lists.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from morphseek_monai.base.errors import DataError
from morphseek_monai.base.files import require_file

from .learn2reg_json import find_dataset_json, listed_images, listed_pairs, read_dataset_json
from .naming import parse_name, stem
from .subjects import Subject, SubjectPair, check_disjoint, subject_of

__all__ = ["label_names", "training_pairs", "training_subjects", "validation_pairs"]


_ENDS = ("fixed", "moving")
_FOLDERS = {"label": "labels", "mask": "masks"}


def training_subjects(dataset_dir: str | os.PathLike[str], json: str | None = None) -> list[Subject]:
    """List the training images without the subjects of ``registration_val`` and ``registration_test``.

    These are the images of ``training``, in either of Learn2Reg's forms (one list, or one per modality number),
    followed by those that only ``training_paired_images`` names.

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
    listed = listed_images(path, content)
    paired = [
        {"image": pair[end]} for pair in listed_pairs(path, content, "training_paired_images") for end in _ENDS
    ]
    if listed:  # Abdomen MR<-CT misspells two images of its pairs, and has them right in 'training'
        paired = [entry for entry in paired if (path.parent / entry["image"]).is_file()]
    subjects: dict[str, Subject] = {}
    for entry in listed + paired:
        subject = _subject(path.parent, entry)
        subjects.setdefault(subject["image"], subject)
    validation, held_out = _held_out(path, content)
    kept = [subject for subject in subjects.values() if subject_of(subject) not in held_out]
    if not kept:
        raise DataError(
            f"{path} leaves no training subject without those of registration_val; correct its 'training'"
        )
    check_disjoint(kept, validation)
    return kept


def training_pairs(dataset_dir: str | os.PathLike[str], json: str | None = None) -> list[SubjectPair]:
    """List ``training_paired_images`` without the subjects of ``registration_val`` and ``registration_test``.

    A pair of a missing image is left out with a warning: the official Abdomen MR<-CT json misspells two.

    Args:
        dataset_dir: the Learn2Reg folder.
        json: see :func:`~morphseek_monai.data.find_dataset_json`.

    Returns:
        pairs ``{"fixed": subject, "moving": subject}``.

    Raises:
        DataError: no pair left.
    """
    path = find_dataset_json(dataset_dir, json)
    content = read_dataset_json(path)
    validation, held_out = _held_out(path, content)
    pairs = []
    for pair in listed_pairs(path, content, "training_paired_images"):
        if held_out & {subject_of({"image": image}) for image in pair.values()}:
            continue
        missing = [image for image in pair.values() if not (path.parent / image).is_file()]
        if missing:
            warnings.warn(
                f"{path} pairs {missing[0]}, which does not exist; the pair is left out", stacklevel=2
            )
        else:
            pairs.append(_pair(path.parent, pair))
    if not pairs:
        raise DataError(
            f"{path} has no 'training_paired_images' without the subjects of registration_val;"
            " pair its subjects with training_subjects()"
        )
    check_disjoint(pairs, validation)
    return pairs


def validation_pairs(dataset_dir: str | os.PathLike[str], json: str | None = None) -> list[SubjectPair]:
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
    pairs = listed_pairs(path, read_dataset_json(path), "registration_val")
    if not pairs:
        raise DataError(
            f"{path} has no 'registration_val' pairs; add {{'fixed': image, 'moving': image}} entries"
        )
    return [_pair(path.parent, pair) for pair in pairs]


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


def _held_out(path: Path, content: Mapping[str, Any]) -> tuple[list[SubjectPair], set[str]]:
    """The validation pairs, and the subjects that training must not see."""
    validation = listed_pairs(path, content, "registration_val")
    test = listed_pairs(path, content, "registration_test")  # by name: its images need not be here
    held_out = {subject_of({"image": pair[end]}) for pair in validation + test for end in _ENDS}
    return [_pair(path.parent, pair) for pair in validation], held_out


def _pair(folder: Path, pair: Mapping[str, str]) -> SubjectPair:
    return {end: _subject(folder, {"image": pair[end]}) for end in _ENDS}


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
    subject["modality"] = parts.modality if parts else entry.get("modality", "")
    return subject
