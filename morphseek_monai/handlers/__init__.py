"""Ignite handlers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from morphseek_monai.base.lazy import lazy_names

if TYPE_CHECKING:
    from ..networks.weights import StrictCheckpointLoader, load_weights
    from .checkpoint import BestCheckpoint, RunCheckpoint
    from .curve_log import CurveLog
    from .early_stop import EarlyStop
    from .figure import PairFigure, registration_figure
    from .run_record import Provenance, provenance
    from .target_kl import TargetKL
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
