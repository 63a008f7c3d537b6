"""The file ``<TASK>_dataset.json`` that describes a Learn2Reg folder."""

from __future__ import annotations

import json as json_module
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from morphseek_monai.base.errors import DataError
from morphseek_monai.base.files import require_file
from morphseek_monai.base.records import write_json

__all__ = ["find_dataset_json", "listed_images", "listed_pairs", "read_dataset_json", "write_dataset_json"]


def find_dataset_json(dataset_dir: str | os.PathLike[str], json: str | None = None) -> Path:
    """Find the description of a Learn2Reg folder.

    Args:
        dataset_dir: the folder.
        json: its file name or path; None (default) takes the only ``*_dataset.json`` of the folder.

    Raises:
        DataError: no folder, no such file, or several.
    """
    folder = Path(dataset_dir)
    if not folder.is_dir():
        raise DataError(
            f"dataset_dir {folder} does not exist; give the folder that holds imagesTr and *_dataset.json"
        )
    if json is not None:
        path = folder / json
        require_file(path, "dataset json")
        return path
    found = sorted(folder.glob("*_dataset.json"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise DataError(
            f"dataset_dir {folder} must hold one *_dataset.json, found {names}; name it with json="
        )
    return found[0]


def read_dataset_json(path: Path) -> dict[str, Any]:
    """Read the file.

    Args:
        path: what :func:`find_dataset_json` found.

    Raises:
        DataError: it is no JSON object.
    """
    try:
        content = json_module.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON ({error}); correct it or download it again") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} must hold a JSON object, got a {type(content).__name__}; download it again")
    return content


def listed_images(path: Path, content: Mapping[str, Any]) -> list[dict[str, str]]:
    """Flatten ``training``: a list, or one list per modality number as in Abdomen MR<-CT.

    Args:
        path: the file, for the message.
        content: what :func:`read_dataset_json` returned.

    Returns:
        entries ``{"image": path}`` with ``label``, ``mask`` where given, and ``modality`` where the list says it.

    Raises:
        DataError: an entry is neither a path nor a dictionary with ``image``.

    Example:
        >>> listed_images(Path("x.json"), {"training": {"0": [{"image": "mr.nii.gz"}], "1": ["ct.nii.gz"]}})
        [{'modality': '0000', 'image': 'mr.nii.gz'}, {'modality': '0001', 'image': 'ct.nii.gz'}]
    """
    training = content.get("training") or []
    images = []
    for number, entries in training.items() if isinstance(training, Mapping) else [("", training)]:
        known = {"modality": number.zfill(4)} if number else {}
        for entry in entries:
            item = {"image": entry} if isinstance(entry, str) else entry
            if not isinstance(item, Mapping) or "image" not in item:
                raise DataError(
                    f"{path} must list paths or {{'image': path}} in 'training', got {entry!r:.100}; correct it"
                )
            images.append(known | dict(item))
    return images


def listed_pairs(path: Path, content: Mapping[str, Any], key: str) -> list[dict[str, str]]:
    """List the pairs under ``key`` by role, also where they are named by modality number.

    Abdomen MR<-CT names its training pairs ``{"0": image, "1": image}`` and says in ``registration_direction``
    which number is fixed.

    Args:
        path: the file, for the message.
        content: what :func:`read_dataset_json` returned.
        key: e.g. ``"registration_val"``.

    Returns:
        pairs ``{"fixed": image, "moving": image}``; none where the key is missing.

    Raises:
        DataError: an entry names no two images.
    """
    direction = content.get("registration_direction", {"fixed": 0, "moving": 1})
    pairs = []
    for entry in content.get(key) or []:
        try:
            pairs.append({end: entry[end if end in entry else str(direction[end])] for end in ("fixed", "moving")})
        except (KeyError, TypeError) as error:
            raise DataError(
                f"{path} must list {{'fixed': image, 'moving': image}} in '{key}', got {entry!r:.100}; correct it"
            ) from error
    return pairs


def write_dataset_json(
    path: str | os.PathLike[str],
    name: str,
    shape: Sequence[int],
    modality: Mapping[str, str],
    labels: Mapping[int, str],
    training: Sequence[Mapping[str, str]],
    registration_val: Sequence[Mapping[str, str]],
    training_paired_images: Sequence[Mapping[str, str]] = (),
    **extra: str,
) -> None:
    """Write ``<TASK>_dataset.json``; counts and repeated tables are filled in.

    Args:
        path: the file; it appears whole or not at all.
        name: the task.
        shape: voxels of every image, ``(X, Y, Z)``.
        modality: name of each modality number, e.g. ``{"0": "MR", "1": "CT"}``.
        labels: name of each id, background included.
        training: entries ``{"image", "label", ...}`` with paths relative to the file, validation subjects
            included.
        registration_val: entries ``{"fixed", "moving"}``.
        training_paired_images: entries ``{"fixed", "moving"}``; empty for unpaired tasks.
        extra: further text fields, e.g. ``description``, ``licence``, ``release``.
    """
    table = {str(index): text for index, text in labels.items()}
    content: dict[str, Any] = {
        "name": name,
        **extra,
        "pairings": "paired" if training_paired_images else "unpaired",
        "modality": dict(modality),
        "labels": dict.fromkeys(modality, table),
        "tensorImageSize": "3D",
        "tensorImageShape": {key: list(shape) for key in modality},
        "numTraining": len(training),
        "training": [dict(entry) for entry in training],
        "numPairedTraining": len(training_paired_images),
        "training_paired_images": [dict(entry) for entry in training_paired_images],
        "numRegistration_val": len(registration_val),
        "registration_val": [dict(entry) for entry in registration_val],
    }
    write_json(path, content)
