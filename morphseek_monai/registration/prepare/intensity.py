"""Bring intensities to [0, 1] as the bundle's network saw them in training, by modality."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from morphseek_monai.base.errors import DataError
from morphseek_monai.data.scans.kind import MODALITIES, guess_modality
from morphseek_monai.registration.models.model import RegistrationModel

BORDER = 0.5  # of the outermost voxels: so many of one value are no anatomy
SHARE = 0.05  # of all voxels, likewise


class PreparedImage(NamedTuple):
    """Intensities of one image, ready for the network.

    Attributes:
        array: ``(X, Y, Z)`` float32 in [0, 1].
        modality: ``"mr"`` or ``"ct"``.
        description: what was done, in words.
        notices: remarks for the user.
    """

    array: NDArray[np.float32]
    modality: str
    description: str
    notices: tuple[str, ...] = ()


def background(array: NDArray[Any]) -> float | None:
    """The one value around the anatomy where others are darker, as after z-scoring or padding; else None.

    Example:
        >>> head = np.pad(np.linspace(-2.0, 3.0, 64).reshape(4, 4, 4), 2)
        >>> background(head), background(np.maximum(head, 0))
        (0.0, None)
    """
    inner = np.zeros(array.shape, dtype=bool)
    inner[1:-1, 1:-1, 1:-1] = True
    values, counts = np.unique(array[~inner], return_counts=True)
    value = float(values[counts.argmax()])
    bordered = counts.max() >= BORDER * counts.sum() and np.mean(array == value) >= SHARE
    return value if bordered and float(array.min()) < value else None


def prepare_intensity(
    array: NDArray[Any],
    modality: str,
    model: RegistrationModel,
    role: str,
    mask: NDArray[np.bool_] | None = None,
) -> PreparedImage:
    """Scale one image.

    Args:
        array: ``(X, Y, Z)`` in the image's own unit.
        modality: ``"mr"``, ``"ct"``, or ``"auto"`` to guess.
        model: whose bundle says how.
        role: of the image, for the message.
        mask: where it counts, ``(X, Y, Z)``: the rest becomes 0, and has no part in the scaling. None for everywhere.

    Raises:
        DataError: the modality is unknown, the bundle was not made for it, or no contrast is left.
    """
    if modality not in MODALITIES:
        raise DataError(f"{role} modality must be one of {', '.join(MODALITIES)}, got {modality!r}; correct it")
    guessed = modality == "auto"
    modality = guess_modality(array) if guessed else modality
    if modality not in model.intensity:
        known = ", ".join(model.intensity)
        raise DataError(
            f"{role} is {'taken for ' if guessed else ''}{modality}, bundle {model.name} was made for {known};"
            f" choose another --bundle, or set --{role.split()[0]}_modality"
        )
    if mask is None:
        scaled, notices = _scaled(array, modality, model, role)
    else:
        scaled = np.zeros(array.shape, dtype=np.float32)
        ends = [np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))[[0, -1]] for axis in range(3)]
        box = tuple(slice(first, last + 1) for first, last in ends)  # around a small mask there is too much of nothing
        inside = mask[box]
        found, notices = _scaled(np.where(inside, array[box], array[mask].min()), modality, model, role)
        scaled[box] = np.where(inside, found, 0)
    if modality == "ct" and array.min() >= 0:
        notices = (f"{role} is taken as ct but has no negative value, air has -1000 Hounsfield units: is it shifted?",)
    done = f"{modality}{' (guessed)' if guessed else ''}: {model.intensity[modality][1]}"
    return PreparedImage(scaled, modality, done, notices)


def _scaled(
    array: NDArray[Any], modality: str, model: RegistrationModel, role: str
) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """In [0, 1], and remarks."""
    transform, description = model.intensity[modality]
    notices: tuple[str, ...] = ()
    around = background(array) if modality == "mr" else None
    if around is not None:
        # tissue darker than its surroundings looks like another contrast to every network
        array = np.where(array == around, array.min(), array)
        notices = (
            f"{role} has {around:g} all around it and darker values inside, as after z-scoring or padding: taken for"
            " background",
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MONAI warns where nearly all voxels are equal, which is refused below
        scaled = np.asarray(transform(torch.from_numpy(array.astype(np.float32))))
    low, high = float(scaled.min()), float(scaled.max())
    if not 0 <= low < high <= 1:  # NaN: beyond single precision
        raise DataError(
            f"{role} has no contrast as {modality} ({description} gives {low:g} to {high:g}); set its modality, or crop"
            " it to the anatomy"
        )
    return scaled, notices
