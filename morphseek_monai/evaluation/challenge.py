"""What the challenges' scorers have in common: fields in voxels, labels looked up by SciPy, quantiles over pairs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from morphseek_monai.base.errors import DataError
from morphseek_monai.data.layouts.learn2reg_json import find_dataset_json, read_dataset_json
from morphseek_monai.data.layouts.naming import parse_name
from morphseek_monai.data.layouts.subjects import SubjectPair
from morphseek_monai.metrics.hausdorff import hd95_learn2reg

__all__ = [
    "Case",
    "beside",
    "case_name",
    "find_field",
    "label_scores",
    "official",
    "read_field",
    "same_or_first_modalities",
    "several",
    "single",
    "warp_nearest",
]

VERSION = "2.0"  # of the official evaluation whose layout this is

Array = NDArray[Any]
Case = dict[str, dict[str, Any]]


def find_field(folder: Path, names: Sequence[str], suffixes: Sequence[str]) -> Path:
    """The field of a pair, under the first name that is there.

    Args:
        folder: of fields.
        names: what may follow ``disp_``, the preferred one first.
        suffixes: ``.nii.gz``, ``.npz``, in their order.

    Raises:
        DataError: there is none.
    """
    for name in names:
        for suffix in suffixes:
            if (path := folder / f"disp_{name}{suffix}").is_file():
                return path
    raise DataError(
        f"{folder} has no disp_{names[0]}.nii.gz, the field of a registration_val pair; write the fields of all pairs"
    )


def same_or_first_modalities(pair: SubjectPair) -> bool:
    """Whether the names of a pair's images allow a field named without modalities: equal ones, or 0000 <- 0001."""
    fixed, moving = (parse_name(pair[end]["image"]) for end in ("fixed", "moving"))
    if fixed is None or moving is None:
        return False
    return fixed.modality == moving.modality or (fixed.modality, moving.modality) == ("0000", "0001")


def read_field(path: Path) -> NDArray[np.float64]:
    """A field ``(X, Y, Z, 3)`` in voxels.

    Args:
        path: NIfTI, or ``.npz`` of one array.

    Raises:
        DataError: it cannot be read, or has values that are not finite.
    """
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                (name,) = archive.files
                field = archive[name].astype(np.float64)
        else:
            loaded: Any = nib.load(path)
            field = loaded.get_fdata()
    except Exception as error:
        raise DataError(f"field {path} cannot be read ({error!r:.100}); write it again") from error
    if not np.isfinite(field).all():
        raise DataError(f"field {path} has NaN or infinite displacements; register the pair again")
    return np.asarray(field, dtype=np.float64)


def warp_nearest(array: Array, field: NDArray[np.float64]) -> Array:
    """An array ``(X, Y, Z)`` looked up where the field ``(X, Y, Z, 3)`` leads; 0 beyond its outermost voxel centres."""
    where = np.indices(field.shape[:3]) + field.transpose(3, 0, 1, 2)
    return np.asarray(map_coordinates(np.asarray(array, dtype=np.float64), where, order=0))


def label_scores(fixed: Array, moving: Array, warped: Array, labels: Iterable[int]) -> Case:
    """``DSC`` and ``HD95`` (voxels) of each label; NaN, which does not count, where one of the two maps lacks it.

    Args:
        fixed: label map of the fixed image.
        moving: label map of the moving image.
        warped: the latter on the fixed grid.
        labels: ids that count.
    """
    dice, distances = [], []
    for index in labels:
        masks = [array == index for array in (fixed, warped, moving)]
        known = masks[0].any() and masks[2].any()
        dice.append(2 * int((masks[0] & masks[1]).sum()) / int(masks[0].sum() + masks[1].sum()) if known else np.nan)
        distances.append(hd95_learn2reg(masks[0], masks[1]) if known else np.nan)
    return {"DSC": several(dice), "HD95": several(distances)}


def case_name(pair: SubjectPair) -> str:
    """``0003_0000<--0004_0000``, fixed image first."""
    names = []
    for end in ("fixed", "moving"):
        parts = parse_name(pair[end]["image"])
        names.append(f"{parts.case}_{parts.modality}" if parts else pair[end]["id"])
    return "<--".join(names)


def single(value: float) -> dict[str, Any]:
    """One number of a pair, as the official file has it."""
    return {"mean": value, "detailed": value}


def several(values: list[float]) -> dict[str, Any]:
    """Numbers of a pair with the mean of those that are some."""
    known = [value for value in values if not np.isnan(value)]
    return {"mean": float(np.mean(known)) if known else np.nan, "detailed": values}


def beside(image: str, role: str) -> Path:
    """Where what belongs to an image has its place: its name, in ``labelsXx`` or ``landmarksXx`` for ``imagesXx``.

    Args:
        image: path.
        role: ``labels``, ``landmarks``, ``keypoints``.
    """
    path = Path(image)
    return path.parent.with_name(path.parent.name.replace("images", role)) / path.name


def official(
    dataset_dir: str | os.PathLike[str],
    json: str | None,
    cases: dict[str, Case],
    names: Iterable[str],
    quantile: Callable[[str], float],
) -> dict[str, Any]:
    """The result laid out as the official ``metrics.json``.

    Args:
        dataset_dir: the data set's folder.
        json: see :func:`~morphseek_monai.data.find_dataset_json`.
        cases: by :func:`case_name`.
        names: of the metrics that are aggregated.
        quantile: which one is called ``"30"``, by metric.
    """
    path = find_dataset_json(dataset_dir, json)
    return {
        "name": read_dataset_json(path).get("name", path.name.removesuffix("_dataset.json")),
        "aggregates": _aggregate(list(cases.values()), names, quantile),
        "cases": cases,
        "eval_version": VERSION,
    }


def _aggregate(
    cases: Sequence[Case], names: Iterable[str], quantile: Callable[[str], float]
) -> dict[str, dict[str, float]]:
    """Mean, standard deviation and the quantile called ``"30"`` of each metric, over the pairs that have it.

    Args:
        cases: of the pairs.
        names: of the metrics.
        quantile: which one, by metric.
    """
    result = {}
    for name in names:
        means = np.array([case[name]["mean"] for case in cases if name in case])
        with np.errstate(invalid="ignore"):  # the spread of infinity is NaN
            ends = {"mean": means.mean(), "std": means.std(), "30": np.quantile(means, quantile(name))}
        result[name] = {end: float(value) for end, value in ends.items()}
    return result
