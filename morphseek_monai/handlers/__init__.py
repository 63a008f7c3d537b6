"""Ignite handlers."""

from morphseek_monai.handlers.checkpoint import BestCheckpoint, RunCheckpoint, StrictCheckpointLoader, load_weights
from morphseek_monai.handlers.curve_log import CurveLog
from morphseek_monai.handlers.figure import PairFigure, registration_figure
from morphseek_monai.handlers.provenance import Provenance, provenance
from morphseek_monai.handlers.target_kl import TargetKL

__all__ = [
    "BestCheckpoint",
    "CurveLog",
    "PairFigure",
    "Provenance",
    "RunCheckpoint",
    "StrictCheckpointLoader",
    "TargetKL",
    "load_weights",
    "provenance",
    "registration_figure",
]
