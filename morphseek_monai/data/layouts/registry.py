"""The folders that are known by name, each with the lists that training and validation take from it."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from morphseek_monai.base.errors import DataError

from .learn2reg import training_subjects, validation_pairs
from .lits import lits_training_subjects, lits_validation_pairs
from .lits_files import holds_lits17, holds_msd
from .subjects import Subject, SubjectPair

__all__ = ["LAYOUTS", "Layout", "detect_layout"]



class Layout(NamedTuple):
    """How to read one kind of folder.

    Attributes:
        training: ``dataset_dir`` -> subjects. Those of ``lits17`` and ``msd`` also take ``validation``, the
            held-out case numbers, with a default; a Learn2Reg json says itself who is held out.
        validation: ``dataset_dir`` -> pairs ``{"fixed": subject, "moving": subject}``, with the same arguments.
        description: the files of the folder, in a few words.
    """

    training: Callable[..., list[Subject]]
    validation: Callable[..., list[SubjectPair]]
    description: str


LAYOUTS: dict[str, Layout] = {
    "learn2reg": Layout(
        training_subjects, validation_pairs, "Learn2Reg: imagesTr, labelsTr, masksTr, <TASK>_dataset.json"
    ),
    "lits17": Layout(
        partial(lits_training_subjects, layout="lits17"),
        partial(lits_validation_pairs, layout="lits17"),
        "LiTS17: volume-N.nii and segmentation-N.nii, also in subfolders",
    ),
    "msd": Layout(
        partial(lits_training_subjects, layout="msd"),
        partial(lits_validation_pairs, layout="msd"),
        "MSD Task03_Liver: imagesTr/liver_N.nii.gz, labelsTr, dataset.json",
    ),
}
"""The known folders by name."""


def detect_layout(dataset_dir: str | os.PathLike[str]) -> str:
    """Say which of :data:`LAYOUTS` a folder has, by its file names; no file is opened.

    Args:
        dataset_dir: the folder.

    Returns:
        a key of :data:`LAYOUTS`.

    Raises:
        DataError: no such folder, none of the layouts, or several.

    Example:
        >>> import tempfile
        >>> from morphseek_monai.data import write_phantom
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = write_phantom(folder, subjects=4, shape=(16, 16, 16))
        ...     detect_layout(folder)
        'learn2reg'
    """
    folder = Path(dataset_dir)
    if not folder.is_dir():
        raise DataError(f"dataset_dir {folder} does not exist; give the folder of the data set")
    signs = {
        "learn2reg": any(folder.glob("*_dataset.json")),
        "lits17": holds_lits17(folder),
        "msd": holds_msd(folder),
    }
    found = [name for name, there in signs.items() if there]
    if len(found) != 1:
        known = "; ".join(layout.description for layout in LAYOUTS.values())
        raise DataError(
            f"dataset_dir {folder} must have one of the known layouts ({known}),"
            f" found {' and '.join(found) or 'none'}; name the layout or give the right folder"
        )
    return found[0]
