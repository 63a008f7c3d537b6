"""Run warm-up and fine-tuning one after the other, or one of them."""

from __future__ import annotations

from collections.abc import Mapping

from monai.engines.trainer import Trainer


def run_phases(phase: str, trainers: Mapping[str, Trainer]) -> None:
    """Run the trainers of the chosen phase in order.

    Each phase goes on from the network as the one before left it. On resume a phase restores itself when it starts, so
    a finished one only hands its weights on.

    Args:
        phase: ``"all"``, or the name of one trainer.
        trainers: trainers by phase name, in the order they run.

    Raises:
        ValueError: When ``phase`` names no trainer.
    """
    if phase != "all" and phase not in trainers:
        raise ValueError(f"run_phases() 'phase' must be 'all' or one of {sorted(trainers)}, got {phase!r}")
    for name, trainer in trainers.items():
        if phase in ("all", name):
            trainer.run()
