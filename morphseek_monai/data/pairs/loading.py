"""Read, prepare and check one subject; the step between a path in a list and a tensor in a pair."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from morphseek_monai.base.errors import DataError, find_data_error
from morphseek_monai.base.files import unreadable

from ..layouts.subjects import modality
from .requirements import binary_mask, check_image, check_same_grid, integer_label

__all__ = ["LoadedSubject", "file_of", "load_subject"]


class LoadedSubject(NamedTuple):
    """One prepared subject.

    Attributes:
        image: ``(1, D, H, W)`` float32.
        label: ``(1, D, H, W)`` integer, or None.
        affine: ``(4, 4)`` voxel -> RAS mm of this grid (after the transforms), or None for arrays without a
            header.
        mask: ``(1, D, H, W)`` uint8, 0 and 1, or None where masks are not used.
    """

    image: Tensor
    label: Tensor | None
    affine: Tensor | None
    mask: Tensor | None = None


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
    with_mask: bool = False,
) -> LoadedSubject:
    """Apply ``transform`` to one subject and check what comes out.

    Args:
        subject: ``{"image": path, "label": path, "mask": path}``; label and mask may be absent. Arrays
            ``(1, D, H, W)`` may stand for paths.
        transform: deterministic MONAI transform on the keys ``image``, ``label`` and ``mask``; None where
            these are arrays. It also finds ``modality`` (str, e.g. ``"0001"``) in the dictionary where the
            subject or its Learn2Reg name tells it.
        with_label: False does not hand the label to the transform: the file is never opened.
        with_mask: True hands the mask to the transform; a subject without one gets ones everywhere. False
            (default) never opens the file.

    Returns:
        the prepared volume.

    Raises:
        DataError: naming the file, whatever went wrong below, also inside MONAI's "applying transform".
    """
    wanted = {"image": True, "label": with_label, "mask": with_mask}
    keys = tuple(key for key, use in wanted.items() if use and subject.get(key) is not None)
    prepared: Any = {key: subject[key] for key in keys}
    kind = modality(subject)
    if kind:
        prepared["modality"] = kind
    image_name = file_of(subject, "image") or "array"
    if transform is not None:
        try:
            prepared = transform(prepared)
        except Exception as error:
            raise _explain(error, subject, keys) from error
    for key in keys:
        if isinstance(prepared[key], str | os.PathLike):
            raise DataError(
                f"{key} {prepared[key]} was not read; begin the dataset's transform with LoadImaged on its key"
            )
    image = _plain(prepared["image"]).float()
    check_image(image, image_name)
    label = mask = None
    if "label" in keys:
        name = file_of(subject, "label") or f"of {image_name}"
        label = integer_label(_plain(prepared["label"]), name)
        check_same_grid(image, label, image_name, name)
    if "mask" in keys:
        name = file_of(subject, "mask") or f"of {image_name}"
        mask = binary_mask(_plain(prepared["mask"]), name)
        check_same_grid(image, mask, image_name, name, "mask")
    elif with_mask:
        mask = torch.ones_like(image, dtype=torch.uint8)
    affine = getattr(prepared["image"], "affine", None)
    voxel_to_mm = None if affine is None else torch.as_tensor(affine, dtype=torch.float64)
    return LoadedSubject(image, label, voxel_to_mm, mask)


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
    for key in ("label", "mask"):
        if isinstance(cause, KeyError) and key not in keys and key in str(cause):
            cure = f"it comes without a {key}: set allow_missing_keys=True on the transforms with key '{key}'"
    names = " and ".join(f"{key} {file_of(subject, key) or 'array'}" for key in keys)
    return DataError(f"{names} cannot be prepared ({type(cause).__name__}: {cause}); {cure}")
