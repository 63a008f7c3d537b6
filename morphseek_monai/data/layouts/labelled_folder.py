"""Labelled images of a plain folder: ``images/NAME.nii.gz`` with ``labels/NAME.nii.gz``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from morphseek_monai.base.errors import DataError

from .naming import stem
from .subjects import Subject, SubjectPair

__all__ = ["labelled_images", "named_pairs"]



def labelled_images(folder: str | os.PathLike[str] | None, first: int | None = None) -> list[Subject]:
    """List the images that have a label map of the same name, in alphabetical order.

    Args:
        folder: holds ``images`` and ``labels``; None, a data set that is not there, gives an empty list.
        first: how many at most, the first ones; None (default) takes all.

    Returns:
        subjects ``{"image": path, "label": path, "id": name}``.

    Raises:
        DataError: the folder holds no labelled image.
    """
    if folder is None:
        return []
    pairs = [(path, Path(folder) / "labels" / path.name) for path in sorted((Path(folder) / "images").glob("*.nii*"))]
    found = [
        {"image": str(image), "label": str(label), "id": stem(str(image))} for image, label in pairs if label.is_file()
    ]
    if not found:
        raise DataError(
            f"{folder} has no images/NAME.nii.gz with labels/NAME.nii.gz; correct the folder, or leave it out (None)"
        )
    return found[:first]


def named_pairs(subjects: Sequence[Subject], pairs: Sequence[Sequence[str]]) -> list[SubjectPair]:
    """Pair subjects by their ids.

    Args:
        subjects: of :func:`labelled_images`; an empty list gives no pair.
        pairs: ids ``[fixed, moving]``.

    Returns:
        pairs ``{"fixed": subject, "moving": subject}``, as :class:`~morphseek_monai.data.PairDataset` takes them.

    Raises:
        DataError: an id is not among the subjects.

    Example:
        >>> one, two = {"image": "a.nii", "id": "a"}, {"image": "b.nii", "id": "b"}
        >>> named_pairs([one, two], [["a", "b"]])[0]["moving"]["image"]
        'b.nii'
    """
    if not subjects:
        return []
    by_id = {subject["id"]: subject for subject in subjects}
    lost = sorted({name for pair in pairs for name in pair} - set(by_id))
    if lost:
        raise DataError(f"named_pairs() 'pairs' names {', '.join(lost)}, which is not among the {len(by_id)} images")
    return [{"fixed": by_id[fixed], "moving": by_id[moving]} for fixed, moving in pairs]
