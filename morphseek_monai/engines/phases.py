"""Run warm-up and fine-tuning one after the other, or one of them."""

from __future__ import annotations

from collections.abc import Mapping

from monai.engines.trainer import Trainer


def run_phases(phase: str, trainers: Mapping[str, Trainer]) -> None:
    """Run the trainers of the chosen phase in order.

    A trainer whose state says that all its epochs are done (it was restored from the checkpoint of a finished phase) is
    left alone; Ignite would start it anew.

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
            state = trainer.state
            if state.epoch >= state.max_epochs:
                trainer.logger.info(f"phase {name} is complete ({state.epoch} of {state.max_epochs} epochs): skipped")
            else:
                trainer.run()
