"""Split the liver tumour data (LiTS17 or MSD Task03_Liver) for registration between patients.

The lists for a bundle, which records who is held out::

    "imports": ["$import morphseek_monai.data as ms_data"],
    "split": {"source": "...", "validation": [100, 101, ...]},
    "train":    {"dataset": {"data": "$ms_data.lits_training_subjects(@dataset_dir, @split#validation)", ...}},
    "validate": {"dataset": {"data": "$ms_data.lits_validation_pairs(@dataset_dir, @split#validation)", ...}}
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from morphseek_monai.base.errors import DataError, report_error

from .lits_files import LitsCase, find_cases
from .naming import stem
from .subjects import Subject, SubjectPair

__all__ = ["LITS_LABELS", "LITS_VALIDATION", "lits_training_subjects", "lits_validation_pairs"]


LITS_LABELS = {0: "background", 1: "liver", 2: "tumour"}
"""Names of the label ids of the liver data."""

LITS_VALIDATION = tuple(range(100, 131))
"""Numbers of the cases held out by default: no registration paper lists any; these are the last 31 of the 131."""


def lits_training_subjects(
    dataset_dir: str | os.PathLike[str], validation: Sequence[int] | None = None, layout: str | None = None
) -> list[Subject]:
    """List the scans that are not held out.

    Args:
        dataset_dir: folder of LiTS17 or MSD Task03_Liver.
        validation: numbers N of the held-out cases; None (default) takes those that ``dataset.json`` lists under
            ``validation`` (phantoms do), otherwise :data:`LITS_VALIDATION`.
        layout: ``"lits17"`` or ``"msd"``; None (default) looks which it is.

    Returns:
        subjects with ``image``, ``label`` (paths), ``id``, ``subject``, ``modality``, by number.

    Raises:
        DataError: what :func:`lits_validation_pairs` refuses, or no case left.
    """
    cases, held_out = _split(dataset_dir, validation, layout)
    kept = [_subject(case) for case in cases if case.number not in held_out]
    if not kept:
        raise DataError(f"dataset_dir {dataset_dir} has no case left for training; hold fewer cases out for validation")
    return kept


def lits_validation_pairs(
    dataset_dir: str | os.PathLike[str], validation: Sequence[int] | None = None, layout: str | None = None
) -> list[SubjectPair]:
    """Pair every held-out case as fixed image with the next one as moving image, the last with the first.

    A ring gives each patient the same weight, once fixed and once moving, and as many pairs as cases; all
    ordered pairs of 31 cases would be 930, too many to validate on every few epochs.

    Args:
        dataset_dir: folder of LiTS17 or MSD Task03_Liver.
        validation: as for :func:`lits_training_subjects`; at least two, in any order.
        layout: ``"lits17"`` or ``"msd"``; None (default) looks which it is.

    Returns:
        pairs ``{"fixed": subject, "moving": subject}`` by the fixed case's number.

    Raises:
        DataError: fewer than two cases, a case listed twice or not there, a scan without segmentation, two files
            of one number.
    """
    cases, held_out = _split(dataset_dir, validation, layout)
    ring = [_subject(case) for case in cases if case.number in held_out]
    return [{"fixed": fixed, "moving": moving} for fixed, moving in zip(ring, [*ring[1:], *ring[:1]])]


def _split(
    dataset_dir: str | os.PathLike[str], validation: Sequence[int] | None, layout: str | None
) -> tuple[list[LitsCase], set[int]]:
    """All cases, and the numbers of those held out."""
    cases = find_cases(dataset_dir, layout)
    if validation is None:
        validation = [case.number for case in cases if case.validation] or LITS_VALIDATION
    held_out = set(validation)
    if len(held_out) != len(validation) or len(held_out) < 2:
        raise DataError(
            f"validation must be at least two different case numbers, got {list(validation)}; correct the split"
        )
    absent = sorted(held_out - {case.number for case in cases})
    if absent:
        report_error(
            DataError(
                f"dataset_dir {dataset_dir} lacks case {', '.join(map(str, absent))}, held out for validation;"
                " copy it there or hold out cases that are there"
            )
        )
    return cases, held_out


def _subject(case: LitsCase) -> Subject:
    name = stem(case.image.name)
    return {
        "image": os.path.normpath(case.image),
        "label": os.path.normpath(case.label),
        "id": name,
        "subject": name,
        "modality": "CT",
    }
