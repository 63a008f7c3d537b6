"""Ignite workflows: warm-up, GRPO fine-tuning, evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from morphseek_monai.base.lazy import lazy_names

if TYPE_CHECKING:
    from .amp import autocast, bfloat16_is_fast
    from .batch import Pair, PairBatch, prepare_pairs
    from .evaluator import RegistrationEvaluator
    from .failure import cause_of, show_cause_last
    from .grpo import GRPOTrainer
    from .phases import run_phases
    from .step import RefinementStep, StepResult
    from .trainer import RefinementTrainer
    from .warmup import WarmupTrainer
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

__all__ = [
    "GRPOTrainer",
    "Pair",
    "PairBatch",
    "RefinementStep",
    "RefinementTrainer",
    "RegistrationEvaluator",
    "StepResult",
    "WarmupTrainer",
    "autocast",
    "bfloat16_is_fast",
    "cause_of",
    "prepare_pairs",
    "run_phases",
    "show_cause_last",
]
