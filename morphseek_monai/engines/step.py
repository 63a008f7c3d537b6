"""One refinement step as a module: what ``DistributedDataParallel`` wraps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import ignite.distributed as idist
import numpy as np
import torch
from torch import Tensor, nn

from morphseek_monai.engines.batch import Pair


class StepResult(NamedTuple):
    """Outcome of one refinement step of one pair.

    Attributes:
        objective: scalar with the step's graph.
        ddf: new accumulated field ``(1, 3, D, H, W)``.
        terms: numbers to log, by name.
    """

    objective: Tensor
    ddf: Tensor
    terms: Mapping[str, Tensor | float]


class RefinementStep(nn.Module):
    """A trainer's ``refine`` in the form of a module that owns the network.

    A step calls two halves of the network and samples between them, while ``DistributedDataParallel`` prepares the
    exchange of gradients in the ``forward`` of the module it wraps. Wrapping this module, not the network, gives it one
    forward for each backward pass, and leaves the network plain: its checkpoints carry no ``module.`` prefix and the
    evaluator runs it as in one process.

    Args:
        network: whose parameters are trained.
        refine: see :meth:`~morphseek_monai.engines.RefinementTrainer.refine`.
    """

    def __init__(self, network: nn.Module, refine: Callable[[Pair, Tensor, torch.Generator, int], StepResult]) -> None:
        super().__init__()
        self.network = network
        self.refine = refine

    def forward(self, pair: Pair, ddf: Tensor, generator: torch.Generator, scale: int = 1) -> StepResult:
        """Do the step."""
        return self.refine(pair, ddf, generator, scale)


def mean_terms(terms: Sequence[Mapping[str, Tensor | float]]) -> dict[str, float]:
    """Mean over the steps and pairs, of all processes, that have the term (an unlabelled pair has no reward).

    Args:
        terms: the terms of each step of each pair of this process.
    """
    own = [{name: float(value) for name, value in step.items()} for step in terms]
    processes: Any = idist.all_gather(own)
    steps: list[dict[str, float]] = [step for process in processes for step in process]
    names = sorted({name for step in steps for name in step})
    return {name: float(np.mean([step[name] for step in steps if name in step])) for name in names}
