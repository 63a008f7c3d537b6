"""Dictionary transforms for registration; everything else is MONAI's."""

from __future__ import annotations

from .body import body_mask
from .check import CheckSubjectd
from .labels import SelectLabelsd
from .modality import ByModalityd
from .save import SaveRegistrationd

__all__ = ["ByModalityd", "CheckSubjectd", "SaveRegistrationd", "SelectLabelsd", "body_mask"]
