"""Dictionary transforms for registration; everything else is MONAI's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from morphseek_monai.base.lazy import lazy_names

if TYPE_CHECKING:
    from .body import body_mask
    from .check import CheckSubjectd
    from .contrast import RandLabelContrastd
    from .labels import SelectLabelsd
    from .mirror import RandMirrord
    from .modality import ByModalityd
    from .per_image import PerImaged
    from .save import SaveRegistrationd
    from .spacing import SpacingOfKeysd
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

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
