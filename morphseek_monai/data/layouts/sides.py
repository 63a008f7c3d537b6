"""Which labels are the left and the right of one structure, from their names."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from morphseek_monai.base.errors import DataError

from .learn2reg import label_names

__all__ = ["label_pairs", "mirrored_labels"]

_WORDS = {"left": "left", "lh": "left", "right": "right", "rh": "right"}
_LETTERS = {"l": "left", "r": "right"}
_OPPOSITE = {"left": "right", "right": "left"}


def label_pairs(dataset_dir: str | os.PathLike[str], json: str | None = None) -> list[tuple[int, int]]:
    """Find the left and right labels of a Learn2Reg folder by the names in its json.

    In a bundle: ``"label_pairs": "$ms_data.label_pairs(@dataset_dir)"``.

    Args:
        dataset_dir: the folder.
        json: see :func:`~morphseek_monai.data.find_dataset_json`.

    Returns:
        ids ``[(left, right), ...]`` as :func:`~morphseek_monai.data.mirrored_labels` finds them.

    Raises:
        DataError: the json names no labels, or a side without its partner.
    """
    return mirrored_labels(label_names(dataset_dir, json))


def mirrored_labels(names: Mapping[int, str]) -> list[tuple[int, int]]:
    """Pair the labels that a left-right mirror exchanges.

    A name is sided by the word left, right, lh or rh anywhere in it, or by the letter L or R as its first or
    last word; upper case, hyphens, underscores, dots and brackets do not matter. Names with both sides
    ("left and right lung") or none belong to structures that mirror onto themselves.

    Args:
        names: name of each id, e.g. from :func:`~morphseek_monai.data.label_names`.

    Returns:
        ids ``[(left, right), ...]``; empty where no name has a side.

    Raises:
        DataError: a label has no partner on the other side (mirroring would then make the wrong side of it), or
            two labels are the same side of one structure.

    Example:
        >>> mirrored_labels({0: "background", 1: "Left-Caudate", 2: "kidney_R", 3: "3rd-Ventricle",
        ...                  4: "Right-Caudate", 5: "kidney_L"})
        [(1, 4), (5, 2)]
    """
    found: dict[tuple[str, str], int] = {}  # (side, structure) -> id
    for index, name in names.items():
        key = _side_of(name)
        if key is None:
            continue
        if key in found:
            raise DataError(
                f"labels {found[key]} '{names[found[key]]}' and {index} '{name}' are the same side of one structure;"
                " give them different names"
            )
        found[key] = index
    for (side, structure), index in found.items():
        if (_OPPOSITE[side], structure) not in found:
            raise DataError(
                f"label {index} '{names[index]}' has no {_OPPOSITE[side]} partner among the label names;"
                " correct the names, or give label_pairs yourself"
            )
    return [(index, found["right", structure]) for (side, structure), index in found.items() if side == "left"]


def _side_of(name: str) -> tuple[str, str] | None:
    """Split "Left-Caudate" into ("left", "caudate"); None for a name without one clear side."""
    words = re.findall(r"[^\W_]+", name.lower())
    places = [i for i, word in enumerate(words) if word in _WORDS]
    if not places:
        # inside a name a single letter is more often a number or an abbreviation than a side
        places = [i for i in sorted({0, len(words) - 1}) if words and words[i] in _LETTERS]
    if len(places) != 1:
        return None
    side = words.pop(places[0])
    return (_WORDS | _LETTERS)[side], " ".join(words)
