"""What a scan is, by its voxels: MR or CT, image or label map."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["CT_AIR", "MODALITIES", "guess_modality", "is_label_map"]

MODALITIES = ("auto", "mr", "ct")
CT_AIR = -1000.0  # Hounsfield units of nothing
# no MR image is that negative, and a CT without any air in view is rare
_CT_BELOW = -500.0
_CT_SHARE = 0.01

MOST_IDS = 256
HALF = 0.5
SAMPLE = 1_000_000  # voxels looked at for ids and neighbours


def guess_modality(array: NDArray[Any]) -> str:
    """``"ct"`` where at least 1 % of the voxels lie below -500 (air in Hounsfield units), else ``"mr"``.

    Example:
        >>> guess_modality(np.array([-1000, -990, 40, 60]))
        'ct'
        >>> guess_modality(np.array([0, 3, 250, 900]))
        'mr'
    """
    return "ct" if float(np.mean(array < _CT_BELOW)) >= _CT_SHARE else "mr"


def is_label_map(array: NDArray[Any]) -> bool:
    """Whether the values are ids of regions rather than intensities.

    They are if they are whole numbers, none negative, at most 256 different ones, and most ids come in patches: of
    an id's neighbours (the next voxel along the first axis, where neither is 0), at least half have the same id, for
    at least half of all ids. Measured on brains: label maps reach 0.76 to 0.88, 8-bit images 0.03 to 0.08, images of
    16 grey levels 0.29 to 0.43. An image of very few flat grey levels cannot be told from a label map.

    Args:
        array: any shape ``(X, Y, Z, ...)``.

    Example:
        >>> regions = np.zeros((8, 8, 8)); regions[2:6, 2:6, 2:4] = 1; regions[2:6, 2:6, 4:6] = 2
        >>> noise = np.random.default_rng(0).integers(0, 20, (8, 8, 8))
        >>> is_label_map(regions), is_label_map(noise), is_label_map(regions + 0.5)
        (True, False, False)
    """
    # whole lines of the first axis, so that neighbours stay neighbours
    step = max(1, int(np.ceil(np.sqrt(array.size / SAMPLE))))
    sample = array[:, ::step, ::step]
    if array.size == 0 or array.min() < 0 or not _whole(sample):
        return False
    ids, ranks = np.unique(sample, return_inverse=True)
    if len(ids) > MOST_IDS or not _whole(array):
        return False
    ranks = ranks.reshape(sample.shape)
    here, next_one = ranks[:-1], ranks[1:]
    inside = (sample[:-1] != 0) & (sample[1:] != 0)
    pairs = np.bincount(here[inside], minlength=len(ids))
    alike = np.bincount(here[inside & (here == next_one)], minlength=len(ids))
    seen = pairs > 0
    return not seen.any() or bool(np.median(alike[seen] / pairs[seen]) >= HALF)


def _whole(array: NDArray[Any]) -> bool:
    return array.dtype.kind in "biu" or bool((array == np.rint(array)).all())
