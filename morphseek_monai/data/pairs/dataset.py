"""Pairs of subjects for registration, from the plain lists that bundles and MONAI Label hand over."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from morphseek_monai.base.errors import DataError
from morphseek_monai.base.files import require_file

from ..layouts.subjects import image_id, is_pair, modality, subject_of
from .loading import LoadedSubject, file_of, load_subject
from .pair_transform import composed, transform_pair
from .pairing import choose_labelled, ordered_pairs, random_pair

__all__ = ["PairDataset"]

MODES = ("all", "random")


class PairDataset(Dataset[dict[str, Any]]):
    """Pairs (moving, fixed) of a list of subjects.

    An item is a dictionary that MONAI's ``DataLoader`` collates and ``decollate_batch`` takes apart again:

    ==================================  ==================================================================
    ``image``                           ``(2, D, H, W)`` float32, channel 0 moving, channel 1 fixed
    ``label``                           ``(2, D, H, W)`` integer ids, same order; zeros where unknown
    ``labelled``                        bool: both label maps are there
    ``mask``                            ``(2, D, H, W)`` uint8, same order, 1 where the image counts; only
                                        with ``use_mask``
    ``moving_id``, ``fixed_id``         str, the subject's ``id`` or its file name without extension
    ``{moving,fixed}_{image,label}``    str, the files; ``""`` where there is none
    ``affine``, ``moving_affine``       ``(4, 4)`` float64, voxel -> RAS mm of either image as prepared;
                                        only where the transform keeps a header (``LoadImaged`` does)
    ==================================  ==================================================================

    Args:
        data: subjects ``{"image": path, "label": path}`` (``label``, ``mask``, ``id``, ``subject``,
            ``modality`` optional), which are paired here, or explicit pairs ``{"fixed": subject, "moving":
            subject}``, which stay as listed. Images of one person share a ``subject``; Learn2Reg names
            ``TASK_XXXX_MMMM`` give subject and modality by themselves.
        transform: preprocessing of one subject on the keys ``image``, ``label`` and, with ``use_mask``,
            ``mask``: deterministic, since each subject is prepared once. Give ``allow_missing_keys`` to
            transforms of ``label`` and ``mask`` where some subjects have none. ``modality`` is in the
            dictionary too, where it is known.
        pair_transform: applied to every item, e.g. random flips of both channels. What a MONAI transform draws
            for item ``i`` of epoch ``e`` depends on ``(seed, e, i)`` alone, whatever process takes the item.
        mode: ``"all"`` (default) every pair in a fixed order; ``"random"`` ``length`` draws per epoch, with
            replacement. Draw ``i`` of epoch ``e`` depends on ``(seed, e, i)`` alone: see :meth:`set_epoch`.
        length: draws per epoch of mode ``"random"``; None (default) is one per image.
        relation: ``"across"`` (default) pairs different people, ``"within"`` images of one person, ``"both"``
            all.
        modalities: (fixed, moving) modality that a pair must have, e.g. ``("0000", "0001")`` for MR <- CT;
            None (default) takes any.
        labelled: whose labels may be used: a float is a share of the subjects (default 1.0, all), an int a
            number of them. They are the first of a shuffle by ``seed``, so a smaller set is part of a larger
            one. The label files of the others are never opened.
        seed: of the draws and of the choice of labelled subjects.
        cache: keep prepared subjects in memory (default). Each worker process keeps its own: give the data
            loader ``persistent_workers`` with ``num_workers`` > 0.
        use_mask: items carry the masks of both images; an image without a mask file counts everywhere.
            False (default) opens no mask file.

    Raises:
        DataError: an empty list, an entry without image, a missing file, no possible pair; later, when an
            item is taken, whatever is wrong with a file, or two images of different shape.
        ValueError: an option out of range.

    Example:
        >>> one, two = ({"image": torch.rand(1, 4, 4, 4), "id": name} for name in ("one", "two"))
        >>> dataset = PairDataset([one, two])
        >>> [(pair["moving_id"], pair["fixed_id"]) for pair in dataset]
        [('two', 'one'), ('one', 'two')]
        >>> dataset[0]["image"].shape, dataset[0]["labelled"]
        (torch.Size([2, 4, 4, 4]), False)
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Callable[[dict[str, Any]], Any] | Sequence[Callable[..., Any]] | None = None,
        pair_transform: Callable[[dict[str, Any]], Any] | Sequence[Callable[..., Any]] | None = None,
        mode: str = "all",
        length: int | None = None,
        relation: str = "across",
        modalities: Sequence[str] | None = None,
        labelled: float | int = 1.0,
        seed: int = 0,
        cache: bool = True,
        use_mask: bool = False,
    ) -> None:
        if mode not in MODES:
            raise ValueError(f"PairDataset() 'mode' must be one of {MODES}, got {mode!r}")
        if length is not None and (mode != "random" or length < 1):
            raise ValueError(
                f"PairDataset() 'length' must be positive and needs mode 'random', got {length} ({mode!r})"
            )
        self.data = data
        self.transform = composed(transform)
        self.pair_transform = composed(pair_transform)
        self.seed = seed
        self.use_mask = use_mask
        files = ("image", "label", "mask") if use_mask else ("image", "label")
        self.images, self.pairs = _index(list(data), relation, modalities, files)
        self.use_label = choose_labelled([subject_of(image) for image in self.images], labelled, seed)
        self.length = (length or len(self.images)) if mode == "random" else None
        self._cache: dict[int, LoadedSubject] | None = {} if cache else None
        # in shared memory, so that persistent workers see set_epoch() of the main process
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]

    def set_epoch(self, epoch: int) -> None:
        """Choose the draws of mode ``"random"``; call it when an epoch starts, also after resuming.

        Args:
            epoch: number of the epoch, from 0 or 1.
        """
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.pairs) if self.length is None else self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"PairDataset has {len(self)} items, got index {index}")
        index %= len(self)
        epoch, pair = int(self._epoch), index
        if self.length is not None:
            pair = random_pair(len(self.pairs), self.seed, epoch, index)
        fixed, moving = (int(i) for i in self.pairs[pair])
        item = self._stack(moving, fixed)
        return transform_pair(self.pair_transform, item, np.random.SeedSequence((self.seed, epoch, index)))

    def _volume(self, index: int) -> LoadedSubject:
        if self._cache is not None and index in self._cache:
            return self._cache[index]
        volume = load_subject(self.images[index], self.transform, bool(self.use_label[index]), self.use_mask)
        if self._cache is not None:
            self._cache[index] = volume
        return volume

    def _stack(self, moving: int, fixed: int) -> dict[str, Any]:
        m, f = self._volume(moving), self._volume(fixed)
        if m.image.shape != f.image.shape:
            raise DataError(
                f"images of a pair must have one shape, got {tuple(m.image.shape[1:])} of moving"
                f" {self._name(moving)} and {tuple(f.image.shape[1:])} of fixed {self._name(fixed)};"
                " add Resized or ResizeWithPadOrCropd to the dataset's transform"
            )
        item: dict[str, Any] = {
            "image": torch.cat([m.image, f.image]),
            "label": _stack_labels(m.label, f.label, m.image),
            "labelled": m.label is not None and f.label is not None,
        }
        if m.mask is not None and f.mask is not None:
            item["mask"] = torch.cat([m.mask, f.mask])
        for role, index, volume in (("moving", moving, m), ("fixed", fixed, f)):
            subject = self.images[index]
            item[f"{role}_id"] = image_id(subject)
            item[f"{role}_image"] = file_of(subject, "image")
            item[f"{role}_label"] = file_of(subject, "label") if volume.label is not None else ""
        if f.affine is not None and m.affine is not None:
            item["affine"], item["moving_affine"] = f.affine, m.affine
        return item

    def _name(self, index: int) -> str:
        return file_of(self.images[index], "image") or image_id(self.images[index])


def _stack_labels(moving: Tensor | None, fixed: Tensor | None, like: Tensor) -> Tensor:
    empty = torch.zeros(like.shape, dtype=torch.uint8)
    return torch.cat([empty if moving is None else moving, empty if fixed is None else fixed])


def _index(
    data: list[Mapping[str, Any]], relation: str, modalities: Sequence[str] | None, files: Sequence[str]
) -> tuple[list[Mapping[str, Any]], NDArray[np.int64]]:
    """Collect the images of ``data`` and the pairs (fixed, moving) as indices into them."""
    if not data:
        raise DataError(
            "the data list is empty; give at least two subjects {'image': path} or one explicit pair"
        )
    if all(isinstance(entry, Mapping) and is_pair(entry) for entry in data):
        images: list[Mapping[str, Any]] = []
        position: dict[str | int, int] = {}

        def index(subject: Mapping[str, Any]) -> int:
            checked = _checked(subject, len(images), files)
            # an image in several pairs is prepared once
            path = file_of(subject, "image")
            key = os.path.realpath(path) if path else id(subject["image"])
            if key not in position:
                position[key] = len(images)
                images.append(checked)
            return position[key]

        ends = [(index(entry["fixed"]), index(entry["moving"])) for entry in data]
        return images, np.array(ends, dtype=np.int64)
    subjects = [_checked(entry, i, files) for i, entry in enumerate(data)]
    if len(subjects) == 1:
        warnings.warn(f"only one subject, {image_id(subjects[0])}: it is paired with itself", stacklevel=3)
        return subjects, np.zeros((1, 2), dtype=np.int64)
    people = [subject_of(entry) for entry in subjects]
    return subjects, ordered_pairs(people, relation, modalities, [modality(entry) for entry in subjects])


def _checked(entry: Mapping[str, Any], index: int, files: Sequence[str]) -> Mapping[str, Any]:
    """Check that an entry's files exist; name an array, which has no file name, by its place."""
    if not isinstance(entry, Mapping) or entry.get("image") is None:
        raise DataError(
            f"an entry of the data list must be {{'image': path, 'label': path}}, got {entry!r:.200}"
        )
    for key in files:
        path = file_of(entry, key)
        if path:
            require_file(path, key)
    return entry if file_of(entry, "image") or "id" in entry else {**entry, "id": f"array {index}"}
