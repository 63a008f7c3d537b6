"""What only a comparison of all files shows: copies, people on both sides, pairs that cannot be made."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ..base.errors import collect_errors
from ..data.layouts.subjects import EntryPair, check_disjoint, image_id
from .report import ERROR, OK, WARN, FileReport, Finding, SubjectReport

__all__ = ["PairCount", "check_split", "count_pairs"]



class PairCount(NamedTuple):
    """How many ordered pairs the training images can make.

    Attributes:
        fixed: modality of the fixed image, ``""`` where unknown.
        moving: of the moving image.
        across: pairs of different people.
        within: pairs of two images of one person.
    """

    fixed: str
    moving: str
    across: int
    within: int


def count_pairs(subjects: Sequence[SubjectReport]) -> list[PairCount]:
    """Count the pairs of training images by modality.

    Args:
        subjects: the reports; those of validation alone do not count.
    """
    training = [subject for subject in subjects if "training" in subject.sides]
    person = np.array([subject.subject for subject in training])
    kind = np.array([subject.modality for subject in training])
    same = (person[:, None] == person[None, :]) & ~np.eye(len(training), dtype=bool)
    other = person[:, None] != person[None, :]
    counts = []
    for fixed in sorted(set(kind.tolist())):
        for moving in sorted(set(kind.tolist())):
            chosen = (kind == fixed)[:, None] & (kind == moving)[None, :]
            counts.append(PairCount(fixed, moving, int((chosen & other).sum()), int((chosen & same).sum())))
    return [count for count in counts if count.across or count.within]


def check_split(subjects: Sequence[SubjectReport], validation: Sequence[EntryPair]) -> Iterator[Finding]:
    """Findings about copies, the two sides, and labels on either.

    Args:
        subjects: the reports of every image of both sides.
        validation: the validation pairs.
    """
    yield from _people(subjects)
    yield from _image_copies(subjects, validation)
    yield from _label_copies(subjects)
    bare = tuple(subject.id for subject in subjects if subject.label is None)
    if 0 < len(bare) < len(subjects):
        what = "no label map: serves the unlabelled terms only, no Dice in validation"
        yield Finding(WARN, "no_label", bare, what, "nothing, if that is meant; otherwise add it")
    training = [subject for subject in subjects if "training" in subject.sides]
    if training and not any(subject.label for subject in training):
        what = "no training image has a label map: the warm-up can be trained, GRPO has no reward"
        yield Finding(WARN, "unlabelled", (), what, "run with --phase warmup, or add label maps")
    if validation and not any(s.label for s in subjects if "validation" in s.sides):
        what = "no validation image has a label map: there is no Dice to choose the best weights by"
        yield Finding(ERROR, "unlabelled", (), what, "add label maps of the validation images")
    if training and not count_pairs(subjects):
        yield Finding(ERROR, "no_pair", (), "the training images make no pair", "add images of other people")


def _people(subjects: Sequence[SubjectReport]) -> Iterator[Finding]:
    sides = {
        side: [
            {"image": subject.image.path, "subject": subject.subject, "id": subject.id}
            for subject in subjects
            if side in subject.sides
        ]
        for side in ("training", "validation")
    }
    disjoint = True
    for entry in sides["validation"]:
        with collect_errors() as errors:
            check_disjoint(sides["training"], [entry])
        for error in errors:
            disjoint = False
            what, _, cure = str(error).rpartition("; ")
            yield Finding(ERROR, "leak", (entry["id"],), what, cure)
    people = {side: len({entry["subject"] for entry in entries}) for side, entries in sides.items()}
    if disjoint and all(people.values()):
        what = f"{people['training']} people in training, {people['validation']} in validation, no name in both"
        yield Finding(OK, "leak", (), what)


def _image_copies(subjects: Sequence[SubjectReport], validation: Sequence[EntryPair]) -> Iterator[Finding]:
    digests = {subject.id: subject.image.digest for subject in subjects}
    groups = [group for group in _groups(subjects, "image") if len(group) > 1]
    for group in groups:
        names = tuple(subject.id for subject in group)
        sides = {side for subject in group for side in subject.sides}
        what = "the same voxels under several names"
        if len(sides) > 1 and len({subject.subject for subject in group}) > 1:
            if len({os.path.realpath(subject.image.path) for subject in group}) == 1:
                continue  # links to one file, which check_disjoint() sees
            yield Finding(ERROR, "leak", names, f"{what}, in training and in validation", "take it out of one list")
        else:
            yield Finding(WARN, "duplicate", names, what, "keep one of them")
    for pair in validation:
        fixed, moving = (image_id(pair[end]) for end in ("fixed", "moving"))
        if fixed == moving or (digests.get(fixed) and digests.get(fixed) == digests.get(moving)):
            what = "a validation pair of an image with itself: its Dice is 1 without registration"
            yield Finding(ERROR, "same_image", tuple(dict.fromkeys((fixed, moving))), what, "correct the pair")
    if not groups and len(subjects) > 1:
        yield Finding(OK, "duplicate", (), "no two images have the same voxels")


def _label_copies(subjects: Sequence[SubjectReport]) -> Iterator[Finding]:
    for group in _groups(subjects, "label"):
        # MR and CT of one person may share a map, and of copied images the copy is reported already
        if len({s.subject for s in group}) > 1 and len({s.image.digest for s in group}) > 1:
            names = tuple(subject.id for subject in group)
            yield Finding(ERROR, "label_copy", names, "different images have one label map", "give each its own map")


def _groups(subjects: Sequence[SubjectReport], role: str) -> list[list[SubjectReport]]:
    """Subjects by equal voxels; constant volumes, reported elsewhere, are equal without being copies."""
    groups: dict[str, list[SubjectReport]] = defaultdict(list)
    for subject in subjects:
        file: FileReport | None = getattr(subject, role)
        if file is not None and file.digest and file.low < file.high:
            groups[file.digest].append(subject)
    return list(groups.values())
