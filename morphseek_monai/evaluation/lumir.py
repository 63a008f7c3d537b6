"""The evaluation of LUMIR, Learn2Reg 2024's registration of brain MRI, number for number.

Chen et al., "Beyond the LUMIR challenge", 2025; the definitions are those of the public scorer
(github.com/JHU-MedImage-Reg/LUMIR_L2R, folder ``L2R_LUMIR_Eval``, commit b4c8c494). It differs from the general scorer
of Learn2Reg (:mod:`~morphseek_monai.evaluation.learn2reg`):

- the regularity of a field is :func:`~morphseek_monai.fields.ndv_percent` over the voxels where the **moving** image is
  above 0, at their places in the fixed grid;
- Dice and HD95 are means of 133 ids, of which 0, the background, is one;
- landmarks are volumes of ids in ``landmarksXx``, looked up as label maps are; TRE is the mean distance of the centres
  of those ids, in voxels, and NaN where the field loses one;
- ``"30"`` is the 0.3-quantile over the pairs of every metric, also of those where less is better;
- a field has the short name, and its components may come first.

The scorer of LUMIR 2025 takes the fixed image in NDV and the 0.7-quantile of TRE.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import center_of_mass

from morphseek_monai.base.errors import DataError
from morphseek_monai.data.layouts.learn2reg import validation_pairs
from morphseek_monai.data.layouts.naming import pair_name
from morphseek_monai.data.layouts.subjects import SubjectPair
from morphseek_monai.data.scans.stored import read_stored
from morphseek_monai.fields import ndv_percent, njd_percent

from .challenge import (
    Case,
    beside,
    case_name,
    find_field,
    label_scores,
    official,
    read_field,
    same_or_first_modalities,
    single,
    warp_nearest,
)

__all__ = ["LUMIR_LABELS", "NDV", "evaluate_lumir"]

NDV = "Non-diffeomorphic Volumes"
# ids of the scorer's configuration
LUMIR_LABELS = (
    0, 4, 11, 23, *range(30, 33), *range(35, 42), 44, 45, *range(47, 53), *range(55, 63), *range(71, 74), 75, 76,
    *range(100, 110), *range(112, 126), 128, 129, *range(132, 158), *range(160, 188), *range(190, 208),
)  # fmt: skip


def evaluate_lumir(
    fields: str | os.PathLike[str],
    dataset_dir: str | os.PathLike[str],
    json: str | None = None,
    labels: Sequence[int] = LUMIR_LABELS,
) -> dict[str, Any]:
    """Evaluate the field of every pair of ``registration_val``.

    Args:
        fields: folder of ``disp_FFFF_MMMM.nii.gz`` (fixed first), or ``.npz`` of one array; voxels, ``(X, Y, Z, 3)`` or
            ``(3, X, Y, Z)``.
        dataset_dir: the folder of ``LUMIR_dataset.json``. Pairs whose label maps are in ``labelsXx`` have ``DSC`` and
            ``HD95``, pairs whose landmarks are in ``landmarksXx`` have ``TRE_lm``.
        json: see :func:`~morphseek_monai.data.find_dataset_json`.
        labels: ids that count.

    Returns:
        ``name``, ``aggregates`` (mean, std and "30" of each metric over the pairs that have it), ``cases`` and
        ``eval_version``, laid out as the official ``metrics.json``, with ``njd_percent`` besides.

    Raises:
        DataError: a field is missing, has another shape than the images, or values that are not finite; a pair has a
            label map or landmarks of one image only; a moving image is 0 everywhere.
    """
    folder = Path(fields)
    pairs = validation_pairs(dataset_dir, json)
    files = [_find_field(folder, pair) for pair in pairs]
    cases = {case_name(pair): _evaluate_pair(file, pair, labels) for file, pair in zip(files, pairs, strict=True)}
    names = sorted({name for case in cases.values() for name in case})
    return official(dataset_dir, json, cases, names, lambda name: 0.3)


def _find_field(folder: Path, pair: SubjectPair) -> Path:
    name = pair_name(pair["fixed"]["image"], pair["moving"]["image"], short=same_or_first_modalities(pair))
    return find_field(folder, [name], (".npz", ".nii.gz"))


def _evaluate_pair(file: Path, pair: SubjectPair, labels: Sequence[int]) -> Case:
    field = read_field(file)
    if field.shape[:1] == (3,):
        field = np.moveaxis(field, 0, -1)
    moving = read_stored(pair["moving"]["image"])
    if field.shape != (*moving.array.shape, 3):
        raise DataError(
            f"field {file} must have shape {(*moving.array.shape, 3)}, got {field.shape}; write it at full resolution"
        )
    mask = torch.from_numpy(np.asarray(moving.array) > 0)[None, None]
    if not mask[..., 1:-1, 1:-1, 1:-1].any():
        raise DataError(f"image {moving.path} has no voxel above 0, where LUMIR measures the field; give the image")
    ddf = torch.from_numpy(field).permute(3, 0, 1, 2)[None]
    case = {NDV: single(float(ndv_percent(ddf, mask))), "njd_percent": single(float(njd_percent(ddf)))}
    if (maps := _volumes(pair, "labels", field)) is not None:
        case |= label_scores(*maps, warp_nearest(maps[1], field), labels)
    if (maps := _volumes(pair, "landmarks", field)) is not None:
        case["TRE_lm"] = single(_landmark_error(maps[0], warp_nearest(maps[1], field), pair["fixed"]["id"]))
    return case


def _volumes(pair: SubjectPair, role: str, field: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Label maps or landmarks of both images; None where neither has any."""
    paths = [beside(pair[end]["image"], role) for end in ("fixed", "moving")]
    there = [path.is_file() for path in paths]
    if not any(there):
        return None
    if not all(there):
        raise DataError(f"{paths[there.index(False)]} does not exist, but that of the other image does; add it")
    fixed, moving = (np.asarray(read_stored(str(path), role).array) for path in paths)
    for path, array in zip(paths, (fixed, moving), strict=True):
        if array.shape != field.shape[:3]:
            raise DataError(f"{role} {path} must have the image's shape {field.shape[:3]}, got {array.shape}; redo it")
    return fixed, moving


def _landmark_error(fixed: NDArray[Any], warped: NDArray[Any], name: str) -> float:
    """Mean distance in voxels of the centres of the fixed image's landmarks; NaN where one is lost."""
    ids = np.unique(fixed)[1:]  # without the background
    if not len(ids):
        raise DataError(f"landmarks of {name} hold no id above the background; give the annotated volume")
    with np.errstate(invalid="ignore"):  # the centre of nothing
        here, there = (np.array(center_of_mass(np.ones(array.shape), array, ids)) for array in (fixed, warped))
    return float(np.linalg.norm(here - there, axis=1).mean())
