"""Pairs of several data sets: one after the other, or mixed by weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from torch.utils.data import ConcatDataset, Dataset

from morphseek_monai.base.errors import DataError

__all__ = ["JoinedPairs", "MixedPairs"]


class JoinedPairs(ConcatDataset[dict[str, Any]]):
    """The pairs of all data sets in turn, e.g. to validate on brains and on hippocampi.

    Images of different data sets may differ in size: use a ``batch_size`` of 1.

    Args:
        datasets: :class:`~morphseek_monai.data.PairDataset` and its like; None, a data set that is not there, is
            left out.
        data: not used here. MONAI Label and ``MonaiAlgo`` replace a config's ``dataset#data``; the data set that is to
            follow refers to it.

    Raises:
        DataError: none is there.

    Example:
        >>> from morphseek_monai.data import ShapePairs
        >>> len(JoinedPairs([ShapePairs((8, 8, 8), 2), None, ShapePairs((8, 8, 8), 3)]))
        5
    """

    def __init__(self, datasets: Sequence[Dataset[dict[str, Any]] | None], data: Sequence[Any] | None = None) -> None:
        there = [dataset for dataset in datasets if dataset is not None]
        if not there:
            raise DataError("JoinedPairs() 'datasets' must hold at least one data set, got none")
        super().__init__(there)

    @property
    def data(self) -> list[Mapping[str, Any]]:
        """Subjects or pairs of all data sets, as :func:`~morphseek_monai.data.check_disjoint` takes them."""
        return [entry for dataset in self.datasets for entry in dataset.data]  # type: ignore[attr-defined]


class MixedPairs(Dataset[dict[str, Any]]):
    """Each item from one of several data sets, drawn by weight.

    Item ``i`` is item ``i`` of the data set that ``(seed, epoch, i)`` draws; so give all the same ``length`` (mode
    ``"random"``). A data set that is missing leaves its share to the others. Images of different data sets may differ
    in size: use a ``batch_size`` of 1.

    Args:
        datasets: by name; None is a data set that is not there.
        weights: how often each is drawn, relative to the others that are there. It may name more: MONAI drops an entry
            with ``"_disabled_": true`` from a config's dictionary.
        seed: of the draws.
        data: not used here. MONAI Label and ``MonaiAlgo`` replace a config's ``dataset#data``; the data set that is to
            follow refers to it.

    Raises:
        DataError: none is there.
        ValueError: a data set has no weight, a weight is not positive, or the lengths differ.

    Example:
        >>> from morphseek_monai.data import ShapePairs
        >>> sets = {"coarse": ShapePairs((8, 8, 8), 4), "fine": ShapePairs((16, 16, 16), 4), "lost": None}
        >>> mixed = MixedPairs(sets, {"coarse": 1, "fine": 1, "lost": 8})
        >>> [mixed[i]["label"].shape[1] for i in range(4)]
        [16, 8, 16, 16]
    """

    def __init__(
        self,
        datasets: Mapping[str, Dataset[dict[str, Any]] | None],
        weights: Mapping[str, float],
        seed: int = 0,
        data: Sequence[Any] | None = None,
    ) -> None:
        if not set(datasets) <= set(weights) or min(weights.values(), default=0) <= 0:
            raise ValueError(
                f"MixedPairs() 'weights' must be positive and name {', '.join(datasets)}, got {dict(weights)}"
            )
        there = {name: dataset for name, dataset in datasets.items() if dataset is not None}
        if not there:
            raise DataError("MixedPairs() 'datasets' must hold at least one data set, got none")
        lengths = {name: len(cast(Any, dataset)) for name, dataset in there.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"MixedPairs() 'datasets' must have one length, got {lengths}; give all the same 'length'")
        self.datasets = list(there.values())
        shares = np.array([weights[name] for name in there], dtype=np.float64)
        self.shares = shares / shares.sum()
        self.length = next(iter(lengths.values()))
        self.seed = seed
        self._epoch = 0

    @property
    def data(self) -> list[Mapping[str, Any]]:
        """Subjects or pairs of all data sets, as :func:`~morphseek_monai.data.check_disjoint` takes them."""
        return [entry for dataset in self.datasets for entry in dataset.data]  # type: ignore[attr-defined]

    def set_epoch(self, epoch: int) -> None:
        """Choose the draws, also those of the data sets; call it when an epoch starts.

        Args:
            epoch: number of the epoch, from 0 or 1.
        """
        self._epoch = epoch
        for dataset in self.datasets:
            dataset.set_epoch(epoch)  # type: ignore[attr-defined]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not -self.length <= index < self.length:
            raise IndexError(f"MixedPairs has {self.length} items, got index {index}")
        index %= self.length
        rng = np.random.default_rng((self.seed, self._epoch, index))
        return self.datasets[int(rng.choice(len(self.datasets), p=self.shares))][index]
