"""Find the scans of the liver tumour data in either of its public folders.

LiTS17
    ``volume-N.nii`` and ``segmentation-N.nii`` (or ``.nii.gz``), anywhere below the folder: the download
    spreads them over ``Training Batch 1`` and ``Training Batch 2``.
MSD Task03_Liver
    ``imagesTr/liver_N.nii.gz``, ``labelsTr/liver_N.nii.gz`` and ``dataset.json``.

Both hold 131 labelled scans, N = 0..130, with ids 0 background, 1 liver, 2 tumour.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from morphseek_monai.base.errors import DataError, report_error
from morphseek_monai.base.files import require_file

from .learn2reg_json import read_dataset_json

__all__ = ["LITS_LAYOUTS", "LitsCase", "find_cases", "holds_lits17", "holds_msd"]

_VOLUME = re.compile(r"volume-(\d+)\.nii(?:\.gz)?")
_SEGMENTATION = re.compile(r"segmentation-(\d+)\.nii(?:\.gz)?")
_LIVER = re.compile(r"liver_(\d+)\.nii(?:\.gz)?")


class LitsCase(NamedTuple):
    """One labelled scan.

    Attributes:
        number: its N.
        image: the CT, Hounsfield units.
        label: the segmentation.
        validation: whether the data set itself lists it for validation.
    """

    number: int
    image: Path
    label: Path
    validation: bool = False


def holds_lits17(folder: Path) -> bool:
    """Tell whether there is any ``volume-N.nii[.gz]`` in a folder or below it."""
    return any(_VOLUME.fullmatch(path.name) for path in folder.rglob("volume-*"))


def holds_msd(folder: Path) -> bool:
    """Tell whether a folder has the ``dataset.json`` and ``imagesTr`` of the Medical Segmentation Decathlon."""
    return (folder / "dataset.json").is_file() and (folder / "imagesTr").is_dir()


def find_cases(dataset_dir: str | os.PathLike[str], layout: str | None = None) -> list[LitsCase]:
    """List the labelled scans by their number.

    Args:
        dataset_dir: the folder.
        layout: ``"lits17"`` or ``"msd"``; None (default) looks which it is.

    Raises:
        DataError: no such folder, neither layout or both, a scan without segmentation, a number twice, a
            missing file.
        ValueError: an unknown layout.
    """
    if layout is not None and layout not in LITS_LAYOUTS:
        raise ValueError(f"find_cases() 'layout' must be one of {', '.join(LITS_LAYOUTS)}, got {layout!r}")
    folder = Path(dataset_dir)
    if not folder.is_dir():
        raise DataError(f"dataset_dir {folder} does not exist; give the folder of the liver data")
    found = [name for name, (holds, _) in LITS_LAYOUTS.items() if layout in (None, name) and holds(folder)]
    if len(found) != 1:
        raise DataError(
            f"dataset_dir {folder} must hold either volume-N.nii and segmentation-N.nii (LiTS17) or imagesTr and"
            f" dataset.json (MSD Task03_Liver), found {' and '.join(found) or 'none'}"
            f"{f' of layout {layout}' if layout else ''}; give the folder that directly holds one of them"
        )
    _, read = LITS_LAYOUTS[found[0]]
    return sorted(read(folder))


def _lits17(folder: Path) -> Iterable[LitsCase]:
    images = _numbered(_VOLUME, folder.rglob("volume-*"))
    labels = _numbered(_SEGMENTATION, folder.rglob("segmentation-*"))
    for number, image in images.items():
        if number not in labels:
            report_error(DataError(f"{image} has no segmentation-{number}.nii; copy it too, or take the volume away"))
        else:
            yield LitsCase(number, image, labels[number])


def _msd(folder: Path) -> Iterable[LitsCase]:
    path = folder / "dataset.json"
    content = read_dataset_json(path)
    listed = [(key, entry) for key in ("training", "validation") for entry in content.get(key, [])]
    for _, entry in listed:
        if not isinstance(entry, dict) or not {"image", "label"} <= entry.keys():
            raise DataError(f"{path} lists {entry!r:.100} without image and label; download it again")
    images = _numbered(_LIVER, [folder / entry["image"] for _, entry in listed])
    if not images:
        raise DataError(f"{path} lists no labelled liver_N.nii.gz; give the folder Task03_Liver")
    rest = {folder / entry["image"]: (folder / entry["label"], key == "validation") for key, entry in listed}
    for number, image in images.items():
        label, validation = rest[image]
        require_file(image, "image")
        require_file(label, "label")
        yield LitsCase(number, image, label, validation)


def _numbered(pattern: re.Pattern[str], paths: Iterable[Path]) -> dict[int, Path]:
    """Files by their number; whatever else is there, such as macOS' ``._`` files, is passed over."""
    found: dict[int, Path] = {}
    for path in sorted(paths):
        match = pattern.fullmatch(path.name)
        if match is None:
            continue
        number = int(match[1])
        if number in found:
            report_error(DataError(f"{path} and {found[number]} have the same number; take one of them away"))
        found[number] = path
    return found


# name -> (is it in this folder?, read it)
LITS_LAYOUTS: dict[str, tuple[Callable[[Path], bool], Callable[[Path], Iterable[LitsCase]]]] = {
    "lits17": (holds_lits17, _lits17),
    "msd": (holds_msd, _msd),
}
