"""Ignite handlers."""

from morphseek_monai.handlers.checkpoint import BestCheckpoint, RunCheckpoint
from morphseek_monai.handlers.curve_log import CurveLog
from morphseek_monai.handlers.early_stop import EarlyStop
from morphseek_monai.handlers.figure import PairFigure, registration_figure
from morphseek_monai.handlers.provenance import Provenance, provenance
from morphseek_monai.handlers.target_kl import TargetKL
from morphseek_monai.handlers.weights import StrictCheckpointLoader, load_weights

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
