"""Read, prepare and check one subject; the step between a path in a list and a tensor in a pair."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .checks import check_image, check_same_grid, integer_label
from .errors import DataError, find_data_error
from .files import unreadable

__all__ = ["Volume", "file_of", "load_subject"]


class Volume(NamedTuple):
    """One prepared subject.

    Attributes:
        image: ``(1, D, H, W)`` float32.
        label: ``(1, D, H, W)`` integer, or None.
        affine: ``(4, 4)`` voxel -> RAS mm of this grid (after the transforms), or None for arrays without a
            header.
    """

    image: Tensor
    label: Tensor | None
    affine: Tensor | None


def file_of(subject: Mapping[str, Any], key: str) -> str:
    """Return the path under ``key``; ``""`` where there is none or an array stands in its place."""
    value = subject.get(key)
    return os.fspath(value) if isinstance(value, str | os.PathLike) else ""


def _plain(value: Any) -> Tensor:
    # a MetaTensor carries its history of transforms; a pair of two images has no such single history
    return torch.as_tensor(value.as_tensor() if hasattr(value, "as_tensor") else value)


def load_subject(
    subject: Mapping[str, Any],
    transform: Callable[[dict[str, Any]], Any] | None = None,
    with_label: bool = True,
) -> Volume:
    """Apply ``transform`` to one subject and check what comes out.

    Args:
        subject: ``{"image": path, "label": path}``; the label may be absent. Arrays ``(1, D, H, W)`` may
            stand for paths.
        transform: deterministic MONAI transform on the keys ``image`` and ``label``; None where these are
            arrays.
        with_label: False does not hand the label to the transform: the file is never opened.

    Returns:
        the prepared volume.

    Raises:
        DataError: naming the file, whatever went wrong below, also inside MONAI's "applying transform".
    """
    keys = ("image", "label") if with_label and subject.get("label") is not None else ("image",)
    sample: Any = {key: subject[key] for key in keys}
    image_name = file_of(subject, "image") or "array"
    label_name = file_of(subject, "label") or f"of {image_name}"
    if transform is not None:
        try:
            sample = transform(sample)
        except Exception as error:
            raise _explain(error, subject, keys) from error
    if isinstance(sample["image"], str | os.PathLike):
        raise DataError(f"image {image_name} was not read; begin the dataset's transform with LoadImaged")
    image = _plain(sample["image"]).float()
    check_image(image, image_name)
    label = None
    if "label" in keys:
        label = integer_label(_plain(sample["label"]), label_name)
        check_same_grid(image, label, image_name, label_name)
    affine = getattr(sample["image"], "affine", None)
    return Volume(image, label, None if affine is None else torch.as_tensor(affine, dtype=torch.float64))


def _explain(error: Exception, subject: Mapping[str, Any], keys: tuple[str, ...]) -> DataError:
    known = find_data_error(error)
    if known is not None:
        return DataError(str(known))
    for key in keys:
        path = file_of(subject, key)
        reason = unreadable(path) if path else None
        if reason is not None:
            return DataError(f"{key} {path} {reason}")
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    cure = "check the file and the transforms"
    if isinstance(cause, KeyError) and "label" not in keys:
        cure = "it comes without a label: set allow_missing_keys=True on the transforms with key 'label'"
    names = " and ".join(f"{key} {file_of(subject, key) or 'array'}" for key in keys)
    return DataError(f"{names} cannot be prepared ({type(cause).__name__}: {cause}); {cure}")
