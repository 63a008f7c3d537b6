"""Dictionary transforms for registration; everything else is MONAI's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from morphseek_monai.base.lazy import lazy_names

if TYPE_CHECKING:
    from .body import body_mask
    from .check import CheckSubjectd
    from .contrast import RandLabelContrastd
    from .intensity_curve import RandIntensityCurved
    from .label_image import RandLabelImaged
    from .labels import SelectLabelsd
    from .mirror import RandMirrord
    from .modality import ByModalityd
    from .per_image import PerImaged
    from .save import SaveRegistrationd
    from .spacing import SpacingOfKeysd
    from .thick_slices import RandThickSlicesd
    from .warp import RandWarpd
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

__all__ = [
    "ByModalityd",
    "CheckSubjectd",
    "PerImaged",
    "RandIntensityCurved",
    "RandLabelContrastd",
    "RandLabelImaged",
    "RandMirrord",
    "RandThickSlicesd",
    "RandWarpd",
    "SaveRegistrationd",
    "SelectLabelsd",
    "SpacingOfKeysd",
    "body_mask",
]
