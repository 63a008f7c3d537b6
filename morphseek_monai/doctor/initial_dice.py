"""Dice of the validation pairs before any registration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import affine_transform
from torch import Tensor

from ..base.errors import DataError
from ..data.layouts.subjects import EntryPair, image_id
from ..data.pairs.loading import file_of, load_subject
from ..data.scans.stored import read_stored
from ..metrics import hard_dice
from .report import OK, WARN, Finding

__all__ = ["PairDice", "PreparedPair", "judge_dice", "native_dice", "prepare", "prepared_dice"]

_MOST_VOXELS = 8_000_000  # a whole brain at 1 mm; of more, every 2nd, 3rd, ... voxel per axis is counted
_LOW, _HIGH = 0.1, 0.99
_BY_HEADERS = "placed by the headers"



class PairDice(NamedTuple):
    """Overlap of a pair's label maps as they are.

    Attributes:
        fixed: id of the fixed image.
        moving: id of the moving image.
        dice: of label 1, 2, ...; NaN where one of the two maps lacks it.
        how: on which voxels it was measured.
    """

    fixed: str
    moving: str
    dice: tuple[float, ...]
    how: str

    @property
    def mean(self) -> float:
        """Mean over the labels that both maps have; NaN where there is none."""
        values = [value for value in self.dice if not np.isnan(value)]
        return float(np.mean(values)) if values else float("nan")


def native_dice(pair: EntryPair, num_labels: int) -> PairDice | None:
    """Dice on the grid of the fixed image.

    Maps of one shape are compared voxel by voxel, as the network is given them. Others are brought together
    through their headers: for each voxel of the fixed map, the moving map's label at the same place in mm
    (nearest neighbour, background beyond the image).

    Args:
        pair: ``{"fixed": subject, "moving": subject}``.
        num_labels: number of labels with the background.

    Returns:
        the overlap, or None where a map is missing or cannot be used; that is reported elsewhere.
    """
    try:
        fixed, fixed_affine = _read(file_of(pair["fixed"], "label"))
        moving, moving_affine = _read(file_of(pair["moving"], "label"))
        how = "voxel by voxel"
        if fixed.shape != moving.shape:
            step = max(1, int(np.ceil((fixed.size / _MOST_VOXELS) ** (1 / 3))))
            how = _BY_HEADERS + (f", every {step}. voxel" if step > 1 else "")
            place = np.linalg.solve(moving_affine, fixed_affine @ np.diag([step, step, step, 1]))
            fixed = fixed[::step, ::step, ::step]
            moving = affine_transform(moving, place[:3, :3], place[:3, 3], fixed.shape, order=0, mode="grid-constant")
    except (DataError, np.linalg.LinAlgError):
        return None
    return _dice(pair, torch.from_numpy(fixed)[None, None], torch.from_numpy(moving)[None, None], num_labels, how)


@lru_cache(maxsize=8)
def _read(path: str) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """A label map, in C order and whole numbers, and its affine."""
    stored = read_stored(path, "label")
    whole = np.rint(stored.array)
    if stored.array.dtype.kind not in "biuf" or not (np.isfinite(whole).all() and (whole == stored.array).all()):
        raise DataError(f"label {path} must hold whole numbers; draw or convert it again")
    return np.ascontiguousarray(whole, dtype=np.int32), stored.affine


class PreparedPair(NamedTuple):
    """What a config's preprocessing makes of a subject.

    Attributes:
        shape: ``(D, H, W)``.
        label: ``(1, 1, D, H, W)`` integer, or None.
    """

    shape: tuple[int, ...]
    label: Tensor | None


def prepare(
    subject: Mapping[str, Any], transform: Callable[[dict[str, Any]], Any], with_mask: bool = False
) -> PreparedPair:
    """Prepare one subject as the first epoch would, and forget its image.

    Args:
        subject: an entry of a data list.
        transform: the preprocessing of one subject.
        with_mask: whether masks are prepared too.

    Raises:
        DataError: what the preprocessing refuses.
    """
    volume = load_subject(subject, transform, with_mask=with_mask)
    return PreparedPair(tuple(volume.image.shape[1:]), None if volume.label is None else volume.label[None])


def prepared_dice(pair: EntryPair, prepared: Mapping[str, PreparedPair], num_labels: int) -> PairDice | None:
    """Dice of two prepared subjects, as the first validation would measure it.

    Args:
        pair: ``{"fixed": subject, "moving": subject}``.
        prepared: subjects by id.
        num_labels: number of labels with the background.

    Returns:
        the overlap, or None where a subject is missing or the shapes differ; that is reported elsewhere.
    """
    fixed, moving = (prepared.get(image_id(pair[end])) for end in ("fixed", "moving"))
    if fixed is None or moving is None or fixed.shape != moving.shape or fixed.label is None or moving.label is None:
        return None
    return _dice(pair, fixed.label, moving.label, num_labels, "after the config's preprocessing")


def _dice(pair: EntryPair, fixed: Tensor, moving: Tensor, num_labels: int, how: str) -> PairDice:
    # a foreign id, reported elsewhere, must not keep the others from being compared
    fixed, moving = (labels.where((labels > 0) & (labels < num_labels), 0) for labels in (fixed, moving))
    values = hard_dice(fixed, moving, num_labels, moving=moving)[0].tolist()
    return PairDice(image_id(pair["fixed"]), image_id(pair["moving"]), tuple(values), how)


def judge_dice(pairs: Sequence[PairDice]) -> list[Finding]:
    """Findings about the overlap before registration.

    Args:
        pairs: of all validation pairs with labels.
    """
    found = []
    for pair in pairs:
        where, title = (pair.fixed, pair.moving), "fixed and moving label map"
        if np.isnan(pair.mean):
            cure = "correct the maps, or choose another pair"
            found.append(Finding(WARN, "initial_dice", where, f"{title} have no label in common: no Dice", cure))
        elif pair.mean < _LOW:
            what = f"{title} hardly overlap before registration (Dice {pair.mean:.3f})"
            cure = "align the images affinely first; check the axes"
            if pair.how.startswith(_BY_HEADERS):
                cure = "check with --config, whose preprocessing may bring them together; else align them affinely"
            found.append(Finding(WARN, "initial_dice", where, what, cure))
        elif pair.mean > _HIGH:
            what = f"{title} agree already (Dice {pair.mean:.3f})"
            found.append(Finding(WARN, "initial_dice", where, what, "is it one image under two names?"))
    if pairs and not found:
        mean = float(np.mean([pair.mean for pair in pairs]))
        found.append(Finding(OK, "initial_dice", (), f"mean Dice {mean:.3f} before registration, {pairs[0].how}"))
    return found
