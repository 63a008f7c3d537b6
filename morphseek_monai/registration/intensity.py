"""Bring intensities to [0, 1] as the bundle's network saw them in training, by modality."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from morphseek_monai.data.errors import DataError
from morphseek_monai.registration.model import RegistrationModel

MODALITIES = ("auto", "mr", "ct")
# Air is -1000 HU; no MR image is that negative, and a CT without any air in view is rare.
CT_AIR = -500.0
CT_SHARE = 0.01


class Prepared(NamedTuple):
    """Intensities of one image, ready for the network.

    Attributes:
        array: ``(X, Y, Z)`` float32 in [0, 1].
        modality: ``"mr"`` or ``"ct"``.
        how: what was done, in words.
        notices: remarks for the user.
    """

    array: NDArray[np.float32]
    modality: str
    how: str
    notices: tuple[str, ...] = ()


def guess_modality(array: NDArray[Any]) -> str:
    """``"ct"`` where at least 1 % of the voxels lie below -500 (air in Hounsfield units), else ``"mr"``.

    Example:
        >>> guess_modality(np.array([-1000, -990, 40, 60]))
        'ct'
        >>> guess_modality(np.array([0, 3, 250, 900]))
        'mr'
    """
    return "ct" if float(np.mean(array < CT_AIR)) >= CT_SHARE else "mr"


def prepare_intensity(array: NDArray[Any], modality: str, model: RegistrationModel, role: str) -> Prepared:
    """Scale one image.

    Args:
        array: ``(X, Y, Z)`` in the image's own unit.
        modality: ``"mr"``, ``"ct"``, or ``"auto"`` to guess.
        model: whose bundle says how.
        role: of the image, for the message.

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
    transform, description = model.intensity[modality]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MONAI warns where nearly all voxels are equal, which is refused below
        scaled = np.asarray(transform(torch.from_numpy(array.astype(np.float32))))
    low, high = float(scaled.min()), float(scaled.max())
    if not 0 <= low < high <= 1:  # NaN: beyond single precision
        raise DataError(
            f"{role} has no contrast as {modality} ({description} gives {low:g} to {high:g}); set its modality, or crop"
            " it to the anatomy"
        )
    notices: tuple[str, ...] = ()
    if modality == "ct" and array.min() >= 0:
        notices = (f"{role} is taken as ct but has no negative value, air has -1000 Hounsfield units: is it shifted?",)
    how = f"{modality}{' (guessed)' if guessed else ''}: {description}"
    return Prepared(scaled, modality, how, notices)
