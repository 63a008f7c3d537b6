"""Find the network's field of a pair: its mean, and what more the user wants to spend on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor

from morphseek_monai.base.errors import DataError, require_whole
from morphseek_monai.inference.sampling import sample_fields
from morphseek_monai.inference.score import label_free_score
from morphseek_monai.inference.steps import run_steps
from morphseek_monai.networks import MorphSeekNet


@dataclass(frozen=True)
class InferenceOptions:
    """What is spent on one pair beyond the network's mean.

    Attributes:
        steps: refinement steps of the network; None takes the bundle's, ``"auto"`` goes on while they help, 0 leaves
            the network out.
        samples: candidates drawn from the latent policy; the best by similarity and folding wins. 0 draws none.
        refine: instance optimisation of the field on this pair, see
            :func:`~morphseek_monai.inference.instance_optimisation.optimise`: ``"auto"``, ``"off"``, or the most
            iterations at the finest level, which take most of the time (``"auto"`` makes 20).

    Raises:
        DataError: a value that none of this can be.
    """

    steps: int | str | None = None
    samples: int = 0
    refine: int | str = "auto"

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps != "auto":
            require_whole("steps", self.steps, 0, "auto or ")
        require_whole("samples", self.samples)
        if self.steps == 0 and self.samples:
            raise DataError(f"samples are the network's, which steps 0 leaves out, got {self.samples}; set one of them")
        if self.refine not in ("auto", "off"):
            require_whole("refine", self.refine, 1, "auto, off or ")


class FoundField(NamedTuple):
    """Outcome of :func:`find_field`.

    Attributes:
        ddf: ``(1, 3, D, H, W)`` in voxels of the network's grid.
        record: what was done, in plain types.
    """

    ddf: Tensor
    record: dict[str, Any]


def find_field(
    network: MorphSeekNet, image: Tensor, plain: Tensor, spacing: NDArray[Any], options: InferenceOptions, seed: int
) -> FoundField:
    """Spend what was asked for on a prepared pair ``(1, 2, D, H, W)``.

    Args:
        network: in evaluation mode.
        image: moving and fixed, in [0, 1].
        plain: the network's own answer to it, ``(1, 3, D, H, W)``.
        spacing: ``(3,)`` mm of its grid.
        options: how much to spend; at least one step.
        seed: of the samples.
    """
    ddf = plain
    record: dict[str, Any] = {"steps": network.steps}
    if options.steps is not None:
        done = run_steps(network, image, options.steps)
        ddf, record["steps"] = done.ddf, done.steps
    if options.samples:
        drawn = sample_fields(network, image, options.samples, spacing.tolist(), seed)
        ddf = _better(image, ddf, drawn.ddf)
        record["scores"] = [round(score, 5) for score in drawn.scores.tolist()]
    return FoundField(ddf, record)


def _better(image: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """The field with the higher label-free score."""
    scores = label_free_score(image, torch.cat([first, second]))
    return first if scores[0] >= scores[1] else second
