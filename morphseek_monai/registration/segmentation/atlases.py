"""Labelled images as atlases of one scan: which there are, and which of them can be used."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from morphseek_monai.base.errors import DataError
from morphseek_monai.data import LAYOUTS, detect_layout, labelled_images
from morphseek_monai.data.layouts.naming import stem
from morphseek_monai.data.layouts.subjects import image_id
from morphseek_monai.data.scans.scan import Scan, read_scan

from ..batch.table import PairRow, folder_name
from ..options import RegisterOptions

__all__ = ["Atlases", "find_atlases", "read_labels"]

MOST = np.iinfo(np.int32).max


class Atlases(NamedTuple):
    """Result of :func:`find_atlases`.

    Attributes:
        rows: the registrations to do, atlas -> scan, each named by its atlas.
        labels: path of the label map by name.
        left_out: why another one is not used, by name.
    """

    rows: list[PairRow]
    labels: dict[str, str]
    left_out: dict[str, str]


def find_atlases(folder: str | os.PathLike[str], image: str | os.PathLike[str], options: RegisterOptions) -> Atlases:
    """List the labelled images of a folder, and read every label map once, before anything is registered.

    Args:
        folder: with ``images/NAME.nii.gz`` and ``labels/NAME.nii.gz``; or in the layout of Learn2Reg, LiTS17 or MSD, of
            which the labelled training subjects are taken.
        image: the scan to segment; where it is in the folder itself it is no atlas.
        options: of the registrations.

    Raises:
        DataError: the folder has no labelled image.
    """
    root = Path(folder)
    left_out = {}
    if (root / "images").is_dir():
        subjects = labelled_images(root)
        labelled = {subject["id"] for subject in subjects}
        for path in sorted((root / "images").glob("*.nii*")):
            if stem(str(path)) not in labelled:
                left_out[folder_name(stem(str(path)))] = f"{path} has no label map {root / 'labels' / path.name}"
    else:
        layout = LAYOUTS[detect_layout(root)]
        subjects = [subject for subject in layout.training(str(root)) if "label" in subject]
    rows: list[PairRow] = []
    labels: dict[str, str] = {}
    for subject in subjects:
        name = folder_name(image_id(subject))
        fault = _fault(subject, image)
        if fault:
            left_out[name] = fault
            continue
        if name.casefold() in {other.casefold() for other in labels}:
            raise DataError(f"{root} has several atlases named {name}; rename one")
        # links resolved, so that a folder of links to a data set is that data set to a second run
        rows.append(PairRow(name, os.path.realpath(image), os.path.realpath(subject["image"]), None, None, options))
        labels[name] = os.path.realpath(subject["label"])
    return Atlases(rows, labels, left_out)


def read_labels(path: str | os.PathLike[str]) -> Scan:
    """The label map of an atlas, of whole numbers that fit 32 bits.

    Args:
        path: the file.

    Raises:
        DataError: it cannot be read, or holds other numbers.
    """
    scan = read_scan(path, "atlas label")
    if not scan.is_label:
        raise DataError(f"label {scan.name} must hold whole numbers, got others; give the segmentation")
    if not scan.array.any():
        raise DataError(f"label {scan.name} is empty (0 everywhere); draw it, or take the atlas away")
    if np.abs(scan.array.astype(np.float64)).max() > MOST:
        raise DataError(f"label {scan.name} has ids beyond {MOST}; number them anew")
    return scan


def _fault(subject: Mapping[str, str], image: str | os.PathLike[str]) -> str:
    if os.path.realpath(subject["image"]) == os.path.realpath(image):
        return "it is the scan itself"
    try:
        read_labels(subject["label"])
    except DataError as error:
        return str(error)
    return ""
