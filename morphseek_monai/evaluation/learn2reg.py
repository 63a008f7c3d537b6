"""Learn2Reg's official evaluation of a folder of displacement fields, number for number.

Hering et al., "Learn2Reg: comprehensive multi-task medical image registration challenge", IEEE TMI 2023. Written from
the definitions, which differ from this package's own metrics in places:

- fields are in voxels of arrays, headers do not count; labels are looked up by ``scipy.ndimage.map_coordinates`` of
  order 0, for which everything beyond the outermost voxel centres is background;
- Dice and HD95 of a label that either map lacks do not count; HD95 is in voxels, weighed by surface area;
- ``LogJacDetStd`` adds 3 to the determinant, which hides folds: the official number of folds is always 0. Here
  ``njd_percent`` stands beside it;
- landmarks are voxel indices; the field is read between voxels by a cubic spline;
- ``"30"`` among the aggregates is the 0.3-quantile over the pairs where more is better or of distances of surfaces, and
  the 0.7-quantile of ``LogJacDetStd`` and of landmarks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from morphseek_monai.base.errors import DataError
from morphseek_monai.data.layouts.learn2reg import label_names, validation_pairs
from morphseek_monai.data.layouts.naming import pair_name
from morphseek_monai.data.layouts.subjects import SubjectPair
from morphseek_monai.data.scans.stored import StoredImage, read_stored
from morphseek_monai.fields import njd_percent, sdlogj_l2r

from .challenge import (
    Case,
    beside,
    case_name,
    find_field,
    label_scores,
    official,
    read_field,
    same_or_first_modalities,
    several,
    single,
    warp_nearest,
)

__all__ = ["evaluate_learn2reg"]

_POINTS = {"TRE_kp": "keypoints", "TRE_lm": "landmarks"}
_HIGHER_QUANTILE = ("LogJacDetStd", "njd_percent", *_POINTS)


def evaluate_learn2reg(
    fields: str | os.PathLike[str],
    dataset_dir: str | os.PathLike[str],
    json: str | None = None,
    labels: Sequence[int] | None = None,
    masked: bool = False,
) -> dict[str, Any]:
    """Evaluate the field of every pair of ``registration_val``.

    Args:
        fields: folder of ``disp_FFFF_mmmm_MMMM_mmmm.nii.gz`` (fixed first), or of the short names ``disp_FFFF_MMMM``
            that the official evaluation accepts for equal modalities and for 0000 <- 0001; ``.npz`` of one array too.
        dataset_dir: the Learn2Reg folder.
        json: see :func:`~morphseek_monai.data.find_dataset_json`.
        labels: ids that count; by default all that the json names, without 0.
        masked: take LogJacDetStd inside the fixed image's mask, as in tasks with masked evaluation.

    Returns:
        ``name``, ``aggregates`` (mean, std and "30" of each metric), ``cases`` (mean and details of each pair) and
        ``eval_version``, laid out as the official ``metrics.json``.

    Raises:
        DataError: a field is missing, has another shape than the fixed image, or values that are not finite; a mask or
            label map is missing.
    """
    folder = Path(fields)
    pairs = validation_pairs(dataset_dir, json)
    wanted = [index for index in label_names(dataset_dir, json) if index] if labels is None else list(labels)
    files = [_find_field(folder, pair) for pair in pairs]
    cases = {
        case_name(pair): _evaluate_pair(read_field(file), pair, wanted, masked)
        for file, pair in zip(files, pairs, strict=True)
    }
    first, *others = cases.values()
    names = [name for name in first if all(name in case for case in others)]
    return official(dataset_dir, json, cases, names, lambda name: 0.7 if name in _HIGHER_QUANTILE else 0.3)


def _find_field(folder: Path, pair: SubjectPair) -> Path:
    fixed, moving = pair["fixed"]["image"], pair["moving"]["image"]
    names = [pair_name(fixed, moving)]
    if same_or_first_modalities(pair):
        names.append(pair_name(fixed, moving, short=True))
    return find_field(folder, names, (".npz", ".nii.gz"))


def _evaluate_pair(field: NDArray[np.float64], pair: SubjectPair, labels: Sequence[int], masked: bool) -> Case:
    for subject in pair.values():
        if "label" not in subject:
            raise DataError(f"{subject['image']} has no label map in labelsTr; add it, or evaluate other pairs")
    fixed, moving = (read_stored(pair[end]["label"], "label") for end in ("fixed", "moving"))
    if field.shape != (*fixed.array.shape, 3):
        raise DataError(
            f"field of {pair['fixed']['id']} must have shape {(*fixed.array.shape, 3)}, got {field.shape};"
            " write it at full resolution, components last"
        )
    ddf = torch.from_numpy(field).permute(3, 0, 1, 2)[None]
    result = {
        "LogJacDetStd": single(float(sdlogj_l2r(ddf, _mask(pair["fixed"]) if masked else None))),
        "njd_percent": single(float(njd_percent(ddf))),
    }
    warped = warp_nearest(moving.array, field)
    result |= label_scores(fixed.array, moving.array, warped, labels)
    return result | {name: several(errors) for name, errors in _landmark_errors(field, pair, moving)}


def _landmark_errors(
    field: NDArray[np.float64], pair: SubjectPair, moving: StoredImage
) -> Iterator[tuple[str, list[float]]]:
    for name, role in _POINTS.items():
        paths = [_points_file(pair[end]["image"], role) for end in ("fixed", "moving")]
        if not all(path.is_file() for path in paths):
            continue
        fixed_points, moving_points = (np.loadtxt(path, delimiter=",", ndmin=2) for path in paths)
        shift = np.stack([map_coordinates(field[..., axis], fixed_points.T) for axis in range(3)], axis=1)
        spacing = np.array(moving.header.get_zooms()[:3], dtype=np.float64)
        yield name, np.linalg.norm((fixed_points + shift - moving_points) * spacing, axis=1).tolist()


def _points_file(image: str, role: str) -> Path:
    path = beside(image, role)
    return path.with_name(f"{path.name.removesuffix('.gz').removesuffix('.nii')}.csv")


def _mask(subject: Mapping[str, str]) -> torch.Tensor:
    if "mask" not in subject:
        raise DataError(f"{subject['image']} has no mask in masksTr; add it, or evaluate without --masked")
    return torch.from_numpy(np.asarray(read_stored(subject["mask"], "mask").array != 0))[None, None]
