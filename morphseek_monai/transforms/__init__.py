"""Dictionary transforms for registration; everything else is MONAI's."""

from __future__ import annotations

from .body import body_mask
from .check import CheckSubjectd
from .contrast import RandLabelContrastd
from .labels import SelectLabelsd
from .mirror import RandMirrord
from .modality import ByModalityd
from .per_image import PerImaged
from .save import SaveRegistrationd
from .spacing import SpacingOfKeysd

__all__ = [
    "ByModalityd",
    "CheckSubjectd",
    "PerImaged",
    "RandLabelContrastd",
    "RandMirrord",
    "SaveRegistrationd",
    "SelectLabelsd",
    "SpacingOfKeysd",
    "body_mask",
]
