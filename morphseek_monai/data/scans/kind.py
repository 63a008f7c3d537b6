"""What a scan is: MR or CT, image or label map, by its voxels, its header and its name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Literal, NamedTuple

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

__all__ = ["CT_AIR", "MODALITIES", "Kind", "guess_modality", "kind_of", "whole_ids"]

MODALITIES = ("auto", "mr", "ct")
CT_AIR = -1000.0  # Hounsfield units of nothing
# no MR image is that negative, and a CT without any air in view is rare
_CT_BELOW = -500.0
_CT_SHARE = 0.01

LABEL_SHARE = 0.7  # of an id's neighbours that have the same id: from here on regions,
IMAGE_SHARE = 0.2  # below here grey values, doubtful between
MOST_LOOKED_AT = 1_000_000  # voxels looked at for ids and neighbours
ROUNDING = 1e-3  # a slope in the header leaves ids that far from whole numbers,
RELATIVE = 4e-7  # or so much of themselves: single precision
_LABEL_INTENTS = (1002, 1003)  # NIfTI's codes of label maps and of NeuroNames
_STATISTICS = range(2, 25)  # and of t, F, z, p values
# words of a name as tools and data sets write them; BIDS entities, as "label-GM", are none
_NAMED = re.compile(r"(?<![a-z])(dseg|seg|aseg|aparc|labels?|labelmap|mask|segmentation|parc|parcellation)(?![a-z-])")
_FOLDERS = ("labelstr", "labelsts", "labels", "maskstr", "masksts", "masks")


class Kind(NamedTuple):
    """Image or label map.

    Attributes:
        name: ``"label"``, ``"image"``, or ``"doubtful"`` where nothing decides.
        reason: what decided, in words.
    """

    name: Literal["label", "image", "doubtful"]
    reason: str


def guess_modality(array: NDArray[Any]) -> str:
    """``"ct"`` where at least 1 % of the voxels lie below -500 (air in Hounsfield units), else ``"mr"``.

    Example:
        >>> guess_modality(np.array([-1000, -990, 40, 60]))
        'ct'
        >>> guess_modality(np.array([0, 3, 250, 900]))
        'mr'
    """
    return "ct" if float(np.mean(array < _CT_BELOW)) >= _CT_SHARE else "mr"


def kind_of(array: NDArray[Any], name: str = "", header: Any = None) -> Kind:
    """Whether the values are ids of regions or intensities.

    Ids are whole numbers, after the header's slope to a thousandth. Of such scans the NIfTI intent, a table of labels
    beside the file (``NAME.tsv`` with the columns ``index`` and ``name``, as in BIDS) or the name (``..._dseg``,
    ``..._mask``, a folder ``labelsTr``) says what they are. Else patches do: of an id's neighbours (the next voxel
    along an axis, where neither is 0), the share with the same id, its median over all ids, along the axis where it is
    largest. From 0.7 on it is a label map, below 0.2 an image. Brains measured: label maps 0.76 to 0.88, 8-bit images
    0.03 to 0.08; images of 8 to 30 grey levels, 0.25 to 0.68, and label maps in coarse voxels are doubtful. The number
    of ids does not matter, nor does their sign.

    Args:
        array: ``(X, Y, Z, ...)``, finite.
        name: path of the file, where there is one.
        header: NiBabel's, where there is one.

    Example:
        >>> regions = np.zeros((8, 8, 8)); regions[2:6, 2:6, 2:4] = 1; regions[2:6, 2:6, 4:6] = 2
        >>> noise = np.random.default_rng(0).integers(0, 20, (8, 8, 8))
        >>> kind_of(regions).name, kind_of(noise).name, kind_of(regions + 0.5).name
        ('label', 'image', 'image')
        >>> kind_of(noise, "sub-1_dseg.nii.gz")
        Kind(name='label', reason='its name')
    """
    intent = int(header["intent_code"]) if isinstance(header, nib.Nifti1Header) else 0
    if intent in _STATISTICS:
        return Kind("image", "the header's intent")
    if array.size == 0 or whole_ids(_lines(array, 0)) is None or (ids := whole_ids(array)) is None:
        if intent in _LABEL_INTENTS:
            return Kind("doubtful", "its header says label map, but it holds fractions")
        return Kind("image", "fractions")
    if intent in _LABEL_INTENTS:
        return Kind("label", "the header's intent")
    for told, reason in ((_has_table(name), "the table of labels beside it"), (_is_named(name), "its name")):
        if told:
            return Kind("label", reason)
    share = max(_shares(ids.array))
    if share >= LABEL_SHARE:
        return Kind("label", "whole numbers in patches")
    if share < IMAGE_SHARE:
        return Kind("image", "grey values")
    return Kind("doubtful", "its whole numbers may be ids of regions or grey values")


class Ids(NamedTuple):
    """Whole numbers.

    Attributes:
        array: any shape, in the type it came in.
        moved: how far rounding moved a value at most.
    """

    array: NDArray[Any]
    moved: float


def whole_ids(array: NDArray[Any]) -> Ids | None:
    """The ids of a label map that was stored with a slope: rounded, where no value is more than a thousandth off.

    Args:
        array: any shape, finite.

    Returns:
        None where a value is no id.

    Example:
        >>> whole_ids(np.array([0.0, 0.99998, 2.0])).array.tolist(), whole_ids(np.array([0.0, 0.5, 1.0]))
        ([0.0, 1.0, 2.0], None)
    """
    if array.dtype.kind in "biu":
        return Ids(array, 0.0)
    rounded = np.rint(array)
    apart = np.abs(array - rounded)
    moved = float(apart.max(initial=0.0))
    if moved == 0:
        return Ids(array, 0.0)
    # small numbers, such as a diffusivity in m2/s, all lie close to 0
    if not (apart <= ROUNDING + RELATIVE * np.abs(rounded)).all() or not rounded.any():
        return None
    return Ids(rounded + 0.0, moved)  # no -0


def _shares(array: NDArray[Any]) -> Iterator[float]:
    """For each axis the median over the ids of how many neighbours are alike."""
    for axis in range(3):
        lines = _lines(array, axis)
        ids, ranks = np.unique(lines, return_inverse=True)
        ranks = ranks.reshape(lines.shape)
        inside = (lines[:-1] != 0) & (lines[1:] != 0)
        pairs = np.bincount(ranks[:-1][inside], minlength=len(ids))
        alike = np.bincount(ranks[:-1][inside & (ranks[:-1] == ranks[1:])], minlength=len(ids))
        seen = pairs > 0
        yield float(np.median(alike[seen] / pairs[seen])) if seen.any() else 1.0  # single voxels: marks


def _lines(array: NDArray[Any], axis: int) -> NDArray[Any]:
    """Whole lines of one axis, so that neighbours stay neighbours; that axis first."""
    step = max(1, int(np.ceil(np.sqrt(array.size / MOST_LOOKED_AT))))
    return np.moveaxis(array, axis, 0)[:, ::step, ::step]


def _is_named(name: str) -> bool:
    folder, base = os.path.split(name)
    return os.path.basename(folder).lower() in _FOLDERS or _NAMED.search(base.lower()) is not None


def _has_table(name: str) -> bool:
    if not name:
        return False
    table = re.sub(r"\.(nii|nii\.gz|mgz|nrrd|mha)$", "", name, flags=re.IGNORECASE) + ".tsv"
    with suppress(OSError, UnicodeDecodeError), open(table, encoding="utf-8") as stream:
        return {"index", "name"} <= set(stream.readline().rstrip("\n").lower().split("\t"))
    return False
