"""Metrics of registration: label overlap, surface distance and regularity of the field."""

from __future__ import annotations

from morphseek_monai.metrics.dice import hard_dice
from morphseek_monai.metrics.registration_dice import RegistrationDice
from morphseek_monai.metrics.registration_hd95 import RegistrationHD95
from morphseek_monai.metrics.registration_metric import RegistrationMetric
from morphseek_monai.metrics.regularity import FoldingPercent, SDLogJ, SDLogJLearn2Reg

__all__ = [
    "FoldingPercent",
    "RegistrationDice",
    "RegistrationHD95",
    "RegistrationMetric",
    "SDLogJ",
    "SDLogJLearn2Reg",
    "hard_dice",
]
