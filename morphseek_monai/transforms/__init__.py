"""Dictionary transforms for registration; everything else is MONAI's."""

from __future__ import annotations

from .check import CheckSubjectd
from .labels import SelectLabelsd
from .save import SaveRegistrationd

__all__ = ["CheckSubjectd", "SaveRegistrationd", "SelectLabelsd"]
