"""Metrics of registration: label overlap, surface distance and regularity of the field."""

from __future__ import annotations

from typing import TYPE_CHECKING

from morphseek_monai.base.lazy import lazy_names

if TYPE_CHECKING:
    from .dice import hard_dice
    from .registration_dice import RegistrationDice
    from .registration_hd95 import RegistrationHD95
    from .registration_metric import RegistrationMetric
    from .regularity import FoldingPercent, SDLogJ, SDLogJLearn2Reg
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

__all__ = [
    "FoldingPercent",
    "RegistrationDice",
    "RegistrationHD95",
    "RegistrationMetric",
    "SDLogJ",
    "SDLogJLearn2Reg",
    "hard_dice",
]
