"""Ignite workflows: warm-up, GRPO fine-tuning, evaluation."""

from morphseek_monai.engines.amp import autocast, bfloat16_is_fast
from morphseek_monai.engines.batch import Pair, PairBatch, prepare_pairs
from morphseek_monai.engines.evaluator import RegistrationEvaluator
from morphseek_monai.engines.failure import cause_of, show_cause_last
from morphseek_monai.engines.grpo import GRPOTrainer
from morphseek_monai.engines.phases import run_phases
from morphseek_monai.engines.step import RefinementStep, StepResult
from morphseek_monai.engines.trainer import RefinementTrainer
from morphseek_monai.engines.warmup import WarmupTrainer

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
