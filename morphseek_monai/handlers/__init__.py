"""Ignite handlers."""

from morphseek_monai.handlers.checkpoint import BestCheckpoint, RunCheckpoint, load_weights
from morphseek_monai.handlers.figure import PairFigure, registration_figure
from morphseek_monai.handlers.provenance import Provenance, provenance
from morphseek_monai.handlers.target_kl import TargetKL

__all__ = [
    "BestCheckpoint",
    "PairFigure",
    "Provenance",
    "RunCheckpoint",
    "TargetKL",
    "load_weights",
    "provenance",
    "registration_figure",
]
