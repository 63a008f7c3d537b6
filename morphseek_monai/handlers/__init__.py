"""Ignite handlers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from morphseek_monai.lazy import lazy_names

if TYPE_CHECKING:
    from .checkpoint import BestCheckpoint, RunCheckpoint
    from .curve_log import CurveLog
    from .early_stop import EarlyStop
    from .figure import PairFigure, registration_figure
    from .provenance import Provenance, provenance
    from .target_kl import TargetKL
    from .weights import StrictCheckpointLoader, load_weights
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

__all__ = [
    "BestCheckpoint",
    "CurveLog",
    "EarlyStop",
    "PairFigure",
    "Provenance",
    "RunCheckpoint",
    "StrictCheckpointLoader",
    "TargetKL",
    "load_weights",
    "provenance",
    "registration_figure",
]
