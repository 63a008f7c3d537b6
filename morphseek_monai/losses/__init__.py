"""Objectives. Each composite loss returns a NamedTuple of its terms, ``total`` first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from morphseek_monai.base.lazy import lazy_names

if TYPE_CHECKING:
    from .diffusion import DiffusionLoss
    from .grpo import GRPOLoss, group_advantages
    from .lncc import LNCCLoss
    from .mind import MINDSSCLoss
    from .morphseek import Group, MorphSeekLoss, MorphSeekTerms
    from .reduced import ReducedLoss
    from .slope import field_slope
    from .soft_dice import SoftDiceLoss
    from .warmup import WarmupLoss, WarmupTerms
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

__all__ = [
    "DiffusionLoss",
    "GRPOLoss",
    "Group",
    "LNCCLoss",
    "MINDSSCLoss",
    "MorphSeekLoss",
    "MorphSeekTerms",
    "ReducedLoss",
    "SoftDiceLoss",
    "WarmupLoss",
    "WarmupTerms",
    "field_slope",
    "group_advantages",
]
