"""Which images may be registered to each other, and whose labels may be used; no file is opened."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from morphseek_monai.base.errors import DataError

__all__ = ["RELATIONS", "choose_labelled", "ordered_pairs", "random_pair"]

RELATIONS = ("across", "within", "both")


def ordered_pairs(
    subjects: Sequence[str],
    relation: str = "across",
    modalities: Sequence[str] | None = None,
    modality_of: Sequence[str] | None = None,
) -> NDArray[np.int64]:
    """List all ordered pairs (fixed, moving) of different images.

    Args:
        subjects: the person each image belongs to.
        relation: ``"across"`` different people (default), ``"within"`` one person (time points, MR and CT),
            ``"both"``.
        modalities: (fixed, moving) modality; None (default) allows any.
        modality_of: the modality of each image; needed with ``modalities``.

    Returns:
        ``(P, 2)`` indices into ``subjects``, fixed first, in lexicographic order.

    Raises:
        ValueError: unknown ``relation``, or ``modalities`` without ``modality_of``.
        DataError: no pair is left.

    Example:
        >>> ordered_pairs(["a", "b"]).tolist()
        [[0, 1], [1, 0]]
        >>> ordered_pairs(["a", "a", "b"], relation="within").tolist()
        [[0, 1], [1, 0]]
    """
    if relation not in RELATIONS:
        raise ValueError(f"ordered_pairs() 'relation' must be one of {RELATIONS}, got {relation!r}")
    person = np.asarray(subjects)
    same = person[:, None] == person[None, :]
    allowed = ~np.eye(len(person), dtype=bool)
    if relation != "both":
        allowed &= same if relation == "within" else ~same
    if modalities is not None:
        if modality_of is None:
            raise ValueError("ordered_pairs() 'modality_of' must be given with 'modalities', got None")
        kind = np.asarray(modality_of)
        allowed &= (kind == modalities[0])[:, None] & (kind == modalities[1])[None, :]
    pairs = np.argwhere(allowed)
    if len(pairs) == 0:
        wanted = f"relation {relation!r}" + (
            "" if modalities is None else f" and modalities {tuple(modalities)}"
        )
        raise DataError(
            f"{len(person)} images of {len(np.unique(person))} subjects make no pair with {wanted};"
            " add images or change the relation"
        )
    return pairs


def random_pair(count: int, seed: int, epoch: int, index: int) -> int:
    """Draw one of ``count`` pairs; the draw depends on nothing but (seed, epoch, index).

    No generator state exists, so workers, ranks and resumed runs draw the same pair for the same index.

    Args:
        count: how many pairs there are.
        seed: the run.
        epoch: the epoch.
        index: the position in the epoch.
    """
    return int(np.random.default_rng((seed, epoch, index)).integers(count))


def choose_labelled(subjects: Sequence[str], labelled: float | int, seed: int) -> list[bool]:
    """Choose the people whose labels may be used: the first of a shuffle, so that fewer are part of more.

    Args:
        subjects: the person each image belongs to.
        labelled: a share of the people (float) or a number of them (int).
        seed: of the shuffle.

    Returns:
        one bool per image.

    Raises:
        ValueError: ``labelled`` is negative, or a share above 1.

    Example:
        >>> choose_labelled(["a", "a", "b"], 0.5, seed=0) in ([True, True, False], [False, False, True])
        True
    """
    share = isinstance(labelled, float)
    if isinstance(labelled, bool) or labelled < 0 or (share and labelled > 1):
        raise ValueError(
            f"choose_labelled() 'labelled' must be a share 0.0..1.0 or a number of subjects, got {labelled!r}"
        )
    people = list(dict.fromkeys(subjects))
    count = round(labelled * len(people)) if share else int(labelled)
    order = np.random.default_rng(seed).permutation(len(people))
    chosen = {people[i] for i in order[:count]}
    return [person in chosen for person in subjects]
