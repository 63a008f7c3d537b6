"""Label maps of random shapes: anatomies that nobody has, for networks that are to register any."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from morphseek_monai.fields.separable import apply_separable, resize_matrix

from .pair_transform import composed, transform_pair

__all__ = ["ShapePairs", "random_shapes"]

_CONTROL = (3, 10)  # points of the noise along an axis: lobes of half the image to details of a few voxels
_BODIES = 0.6  # share of the maps whose shapes lie in an empty surrounding, as organs in air


def random_shapes(size: Sequence[int], labels: int, rng: np.random.Generator) -> Tensor:
    """Draw a label map: each voxel belongs to the label whose smooth random noise is highest there.

    After Hoffmann et al., "SynthMorph", IEEE TMI 2022, https://arxiv.org/abs/2004.10282. In 60 % of the maps
    the noise of label 0 rises towards the border, so that the shapes are surrounded by it.

    Args:
        size: ``(D, H, W)``.
        labels: number of labels beside 0.
        rng: where the draws come from.

    Returns:
        ``(D, H, W)`` uint8, 0 to ``labels``.

    Example:
        >>> shapes = random_shapes((16, 16, 16), 4, np.random.default_rng(0))
        >>> shapes.dtype, len(shapes.unique()) > 2
        (torch.uint8, True)
    """
    shape = (size[0], size[1], size[2])
    best = _noise(shape, rng)
    if rng.uniform() < _BODIES:
        axes = [torch.linspace(-1, 1, n).square() for n in shape]
        radius = (axes[0].view(-1, 1, 1) + axes[1].view(-1, 1) + axes[2]).sqrt()
        best += 8 * (radius - rng.uniform(0.6, 0.9)).clamp_(min=-0.2)
    drawn = torch.zeros(shape, dtype=torch.uint8)
    for label in range(1, labels + 1):
        noise = _noise(shape, rng)
        drawn[noise > best] = label
        best = torch.maximum(best, noise)
    return drawn


def _noise(size: tuple[int, int, int], rng: np.random.Generator) -> Tensor:
    points = rng.integers(_CONTROL[0], _CONTROL[1] + 1)
    noise = torch.from_numpy(rng.standard_normal((1, points, points, points), dtype=np.float32))
    return apply_separable(noise, [resize_matrix(int(points), n) for n in size])[0]


class ShapePairs(Dataset[dict[str, Any]]):
    """Pairs of one map of :func:`random_shapes`, anew for every item; no files.

    Items are those of :class:`~morphseek_monai.data.PairDataset`: ``image`` (empty), ``label``, ``labelled``, ids. What
    makes two different images of them is the ``pair_transform``: a warp of each, and a contrast
    (:class:`~morphseek_monai.transforms.RandWarpd`, :class:`~morphseek_monai.transforms.RandLabelImaged`).

    Args:
        size: ``(D, H, W)``.
        length: items per epoch.
        labels: range of the number of labels beside 0.
        pair_transform: as in ``PairDataset``. Item ``i`` of epoch ``e`` depends on ``(seed, e, i)`` alone.
        seed: of the draws.

    Raises:
        ValueError: ``length`` is not positive, or ``labels`` out of order or beyond 1..255.

    Example:
        >>> item = ShapePairs((16, 16, 16), length=3)[0]
        >>> item["image"].shape, item["label"].shape, item["labelled"]
        (torch.Size([2, 16, 16, 16]), torch.Size([2, 16, 16, 16]), True)
    """

    def __init__(
        self,
        size: Sequence[int],
        length: int,
        labels: Sequence[int] = (8, 24),
        pair_transform: Callable[[dict[str, Any]], Any] | Sequence[Callable[..., Any]] | None = None,
        seed: int = 0,
    ) -> None:
        if length < 1:
            raise ValueError(f"ShapePairs() 'length' must be positive, got {length}")
        if len(labels) != 2 or not 1 <= labels[0] <= labels[1] <= 255:
            raise ValueError(f"ShapePairs() 'labels' must be (low, high) within 1..255, got {tuple(labels)}")
        self.data: list[dict[str, Any]] = []  # no subject that could be in validation too
        self.size = tuple(size)
        self.length = length
        self.labels = (int(labels[0]), int(labels[1]))
        self.pair_transform = composed(pair_transform)
        self.seed = seed
        # in shared memory, so that persistent workers see set_epoch() of the main process
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]

    def set_epoch(self, epoch: int) -> None:
        """Choose the draws; call it when an epoch starts.

        Args:
            epoch: number of the epoch, from 0 or 1.
        """
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not -self.length <= index < self.length:
            raise IndexError(f"ShapePairs has {self.length} items, got index {index}")
        index %= self.length
        draw = np.random.SeedSequence((self.seed, int(self._epoch), index))
        rng = np.random.default_rng(draw)
        label = random_shapes(self.size, int(rng.integers(self.labels[0], self.labels[1] + 1)), rng)
        name = f"shapes {int(self._epoch)}.{index}"
        item: dict[str, Any] = {
            "image": torch.zeros(2, *self.size),
            "label": torch.stack([label, label]),
            "labelled": True,
            **{f"{role}_{key}": "" for role in ("moving", "fixed") for key in ("image", "label")},
            "moving_id": name,
            "fixed_id": name,
        }
        return transform_pair(self.pair_transform, item, draw)
