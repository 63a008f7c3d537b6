"""Many label maps of one scan as one, by votes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from morphseek_monai.space.grid import Grid

from .voters import Voters

__all__ = ["Fused", "fuse", "fuse_slabs"]

VOTES = 2**22  # in memory at a time


class Fused(NamedTuple):
    """Result of :func:`fuse`.

    Attributes:
        labels: the label with most votes, in the type of the label maps; 0 where nobody votes.
        agreement: its share of all votes, float32 in [0, 1]; 0 where nobody votes.
    """

    labels: NDArray[Any]
    agreement: NDArray[np.float32]


def fuse(labels: NDArray[Any], weights: NDArray[Any]) -> Fused:
    """Give every voxel the label with most votes.

    Labels are counted one after the other, and only those that are there: no one-hot volume is made.

    Args:
        labels: ``(K, ...)``, of ``K`` voters, whole numbers of any value.
        weights: ``(K, ...)``, how much each vote counts, not negative; equal ones are the majority vote (T. Rohlfing et
            al., NeuroImage 21(4), 2004), similarities the locally weighted one (X. Artaechevarria et al., IEEE TMI
            28(8), 2009). Who does not see a voxel has the weight 0 there.

    Returns:
        ``(...)`` each. Of labels with equally many votes the smallest wins.

    Example:
        >>> fuse(np.array([[3], [3], [7]]), np.array([[1.0], [1.0], [2.5]]))
        Fused(labels=array([7]), agreement=array([0.5555556], dtype=float32))
    """
    total: NDArray[np.float32] = np.asarray(weights.sum(axis=0, dtype=np.float32))
    winner = np.where(total > 0, labels[0], 0).astype(labels.dtype)
    most = total.copy()
    disputed = (labels != labels[0]).any(axis=0)  # a few voxels: along the borders of the structures
    own, counts = labels[:, disputed], weights[:, disputed]
    best, leader = np.zeros(own.shape[1:], np.float32), np.zeros(own.shape[1:], labels.dtype)
    for label in np.unique(own):
        votes = np.asarray(np.sum(counts, axis=0, dtype=np.float32, where=own == label))
        more = votes > best
        leader[more], best[more] = label, votes[more]
    winner[disputed], most[disputed] = leader, best
    return Fused(winner, np.divide(most, total, out=np.zeros_like(most), where=total > 0))


def fuse_slabs(voters: Sequence[Voters], grid: Grid) -> Fused:
    """:func:`fuse` of many atlases, a few planes of the scan at a time.

    Args:
        voters: the atlases.
        grid: of the scan.

    Returns:
        ``(X, Y, Z)`` each.
    """
    fused = Fused(np.empty(grid.size, np.int32), np.empty(grid.size, np.float32))
    planes = max(1, VOTES // (8 * len(voters) * grid.size[1] * grid.size[2]))
    for first in range(0, grid.size[0], planes):
        part = slice(first, first + planes)
        labels, weights = (np.concatenate(votes) for votes in zip(*(one.votes(part) for one in voters), strict=True))
        fused.labels[part], fused.agreement[part] = fuse(labels, weights)
    return fused
