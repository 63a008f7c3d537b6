"""Objectives. Each composite loss returns a NamedTuple of its terms, ``total`` first."""

from morphseek_monai.losses.diffusion import DiffusionLoss
from morphseek_monai.losses.grpo import GRPOLoss, group_advantages
from morphseek_monai.losses.lncc import LNCCLoss
from morphseek_monai.losses.mind import MINDSSCLoss
from morphseek_monai.losses.morphseek import Group, MorphSeekLoss, MorphSeekTerms
from morphseek_monai.losses.soft_dice import SoftDiceLoss
from morphseek_monai.losses.warmup import WarmupLoss, WarmupTerms

__all__ = [
    "DiffusionLoss",
    "GRPOLoss",
    "Group",
    "LNCCLoss",
    "MINDSSCLoss",
    "MorphSeekLoss",
    "MorphSeekTerms",
    "SoftDiceLoss",
    "WarmupLoss",
    "WarmupTerms",
    "group_advantages",
]
