"""Names of the formats of transform files, and ``FORMAT:PATH``; a module of its own since it loads nothing."""

from __future__ import annotations

import os

__all__ = ["FORMAT_NAMES", "split_format"]

FORMAT_NAMES = (
    "afni", "ants", "dipy", "freesurfer", "fsl", "greedy", "itk", "itk-field", "mrtrix", "niftyreg", "ras", "slicer",
    "spm", "x5",
)  # fmt: skip


def split_format(path: str | os.PathLike[str]) -> tuple[str, str]:
    """``FORMAT:PATH`` taken apart; a file whose own name looks like that comes first.

    Args:
        path: with or without a format.

    Returns:
        the format, empty where none is named, and the path.

    Example:
        >>> split_format("fsl:flirt.mat"), split_format("flirt.mat")
        (('fsl', 'flirt.mat'), ('', 'flirt.mat'))
    """
    text = os.fspath(path)
    name, colon, rest = text.partition(":")
    if colon and name in FORMAT_NAMES and not os.path.exists(text):
        return name, rest
    return "", text
