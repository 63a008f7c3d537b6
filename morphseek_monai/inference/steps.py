"""As many refinement steps as a pair needs (``--steps auto``)."""

from __future__ import annotations

from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from morphseek_monai.inference.score import check_pair, label_free_score
from morphseek_monai.networks import MorphSeekNet
from morphseek_monai.networks.rollout import no_displacement, rollout

MOST_STEPS = 10
LEAST_GAIN = 0.01


class Steps(NamedTuple):
    """Result of :func:`run_steps`.

    Attributes:
        ddf: the field, ``(1, 3, D, H, W)`` in voxels.
        steps: number of steps behind ``ddf``.
        scores: :func:`label_free_score` after each step that was made.
    """

    ddf: Tensor
    steps: int
    scores: tuple[float, ...]


@torch.no_grad()
def run_steps(
    network: MorphSeekNet, pair: Tensor, steps: int | str = "auto", least_gain: float = LEAST_GAIN
) -> Steps:
    """Register a pair with a chosen number of deterministic steps, or until they no longer help.

    Args:
        network: in evaluation mode.
        pair: ``(1, 2, D, H, W)``, moving and fixed, intensities in [0, 1].
        steps: a number makes just as many and returns the last field; ``network.steps`` of them are the network's own
            answer. ``"auto"`` makes those, goes on at the last scale until a step gains less than ``least_gain``, but
            not beyond 10, and returns the field with the best score.
        least_gain: gain in score for which another step is made; see ``docs/benchmarks/quality.md``.

    Returns:
        The field, its number of steps and the score after every step.

    Raises:
        ValueError: When ``steps`` is neither ``"auto"`` nor at least 1, or ``pair`` is not one pair.
    """
    check_pair(pair, "run_steps")
    auto = steps == "auto"
    if not auto and (not isinstance(steps, int) or isinstance(steps, bool) or steps < 1):
        raise ValueError(f"run_steps() 'steps' must be 'auto' or a number of at least 1, got {steps!r}")
    best, best_step, scores = no_displacement(pair), 0, []
    for t, ddf in enumerate(islice(rollout(network, pair), MOST_STEPS if auto else int(steps))):
        scores.append(label_free_score(pair, ddf).item())
        if not auto or scores[-1] >= max(scores):
            best, best_step = ddf, t + 1
        if auto and t >= network.steps and scores[-1] - scores[-2] < least_gain:
            break
    return Steps(best, best_step, tuple(scores))
