"""Check the pairs of left and right ids that augmentations exchange or treat alike."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["check_label_pairs"]


def check_label_pairs(label_pairs: Sequence[Sequence[int]] | None, function: str) -> list[tuple[int, int]]:
    """Return the pairs as a list of tuples, empty for None.

    Args:
        label_pairs: ids ``[(left, right), ...]``.
        function: who asks, for the message.

    Raises:
        ValueError: an entry is not two ids, an id stands twice, or is the background.

    Example:
        >>> check_label_pairs([[1, 4], [2, 5]], "RandMirrord")
        [(1, 4), (2, 5)]
    """
    pairs = [tuple(int(index) for index in pair) for pair in label_pairs or ()]
    ids = [index for pair in pairs for index in pair]
    if any(len(pair) != 2 for pair in pairs) or len(set(ids)) < len(ids) or min(ids, default=1) < 1:
        raise ValueError(
            f"{function}() 'label_pairs' must be pairs (left, right) of distinct ids above 0, got {label_pairs};"
            " take them from the function label_pairs()"
        )
    return [(left, right) for left, right in pairs]
