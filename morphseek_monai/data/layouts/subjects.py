"""Subject dictionaries: who an image belongs to, and who may not be on both sides of a split."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from morphseek_monai.base.errors import DataError, report_error

from .naming import parse_name, stem

__all__ = [
    "Entry", "EntryPair", "Subject", "SubjectPair", "check_disjoint", "image_id", "is_pair", "modality", "subject_of",
]

# what a list names, files or arrays
Entry = Mapping[str, Any]
EntryPair = Mapping[str, Entry]
# the same from files alone, as the layouts find them
Subject = dict[str, str]
SubjectPair = dict[str, Subject]


def is_pair(entry: Entry) -> bool:
    """Tell an explicit pair ``{"fixed": subject, "moving": subject}`` from a subject ``{"image": path}``."""
    return "fixed" in entry and "moving" in entry


def image_id(entry: Entry) -> str:
    """Name one image: its ``"id"``, otherwise its file name without extension.

    Example:
        >>> image_id({"image": "imagesTr/OASIS_0013_0000.nii.gz"})
        'OASIS_0013_0000'
    """
    return str(entry["id"]) if "id" in entry else stem(str(entry["image"]))


def subject_of(entry: Entry) -> str:
    """Name the person: the ``"subject"`` key, otherwise ``TASK_XXXX`` of a Learn2Reg name, otherwise the
    image's id.

    Example:
        >>> subject_of({"image": "imagesTr/AbdomenMRCT_0006_0001.nii.gz"})
        'AbdomenMRCT_0006'
    """
    if "subject" in entry:
        return str(entry["subject"])
    name = parse_name(image_id(entry))
    return f"{name.task}_{name.case}" if name else image_id(entry)


def modality(entry: Entry) -> str:
    """Name the modality: the ``"modality"`` key, otherwise ``MMMM`` of a Learn2Reg name, otherwise ``""``."""
    if "modality" in entry:
        return str(entry["modality"])
    name = parse_name(image_id(entry))
    return name.modality if name else ""


def _images(entries: Iterable[Entry]) -> Iterable[Entry]:
    for entry in entries:
        yield from (entry["fixed"], entry["moving"]) if is_pair(entry) else (entry,)


def check_disjoint(training: Sequence[Entry], validation: Sequence[Entry]) -> None:
    """Raise where a subject, or an image file, is in both lists.

    Learn2Reg's ``training`` lists its validation cases too; a model selected on subjects it was trained on
    looks better than it is.

    Args:
        training: subjects or pairs, as :class:`~morphseek_monai.data.PairDataset` takes them.
        validation: likewise.

    Raises:
        DataError: with the first subject found in both.

    Example:
        >>> check_disjoint([{"image": "a.nii.gz"}], [{"image": "b.nii.gz"}])
    """
    people: dict[str, str] = {}
    files: dict[str, str] = {}
    for entry in _images(training):
        people[subject_of(entry)] = str(entry["image"])
        files[os.path.realpath(str(entry["image"]))] = str(entry["image"])
    for entry in _images(validation):
        image = str(entry["image"])
        other = files.get(os.path.realpath(image)) or people.get(subject_of(entry))
        if other is not None:
            report_error(
                DataError(
                    f"subject {subject_of(entry)} is in training ({other}) and in validation ({image});"
                    " take it out of one list"
                )
            )
