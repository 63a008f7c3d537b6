"""Several answers from the latent policy: the best by a label-free score, and how much they differ."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from morphseek_monai.data import DataError
from morphseek_monai.inference.score import FOLDING_WEIGHT, check_pair, label_free_score
from morphseek_monai.networks import GaussianPolicyHead, MorphSeekNet
from morphseek_monai.networks.rollout import rollout

TAU = 0.25


class Samples(NamedTuple):
    """Result of :func:`sample_fields`.

    Attributes:
        ddf: the candidate with the highest score, ``(1, 3, D, H, W)`` in voxels.
        best: its number; 0 is the network's deterministic answer.
        scores: :func:`label_free_score` of the deterministic answer and of the K samples, ``(K + 1,)``.
        spread: standard deviation of the samples' displacement in mm, ``(1, 1, D, H, W)``: the root of the summed
            variances of the three components. None for a single sample.
    """

    ddf: Tensor
    best: int
    scores: Tensor
    spread: Tensor | None


@torch.no_grad()
def sample_fields(
    network: MorphSeekNet,
    pair: Tensor,
    samples: int,
    spacing: Sequence[float],
    seed: int = 0,
    tau: float = TAU,
    folding_weight: float = FOLDING_WEIGHT,
) -> Samples:
    """Register a pair deterministically and ``samples`` times with latents drawn from the policy at every step.

    The deterministic answer is a candidate too, so that the result never scores below it. Neither time for one sample
    nor memory depends on their number: mean and variance are running sums (Welford).

    Args:
        network: in evaluation mode, with a Gaussian policy.
        pair: ``(1, 2, D, H, W)``, moving and fixed, intensities in [0, 1].
        samples: number K of trajectories; 2 or more for a spread.
        spacing: voxel sizes of the network's grid in mm.
        seed: of a generator of this call's own; the global one is neither read nor moved.
        tau: temperature of the draw; the default is that of the bundles' training.
        folding_weight: see :func:`label_free_score`.

    Returns:
        The best field, all scores, and the spread.

    Raises:
        DataError: When the network has no policy.
        ValueError: When ``samples`` is below 1, ``tau`` is not positive, ``spacing`` is not three positive numbers, or
            ``pair`` is not one pair.
    """
    check_pair(pair, "sample_fields")
    if network.head is None:
        raise DataError(
            "sample_fields() needs a network with a Gaussian policy, got policy='none'; use --steps auto, "
            "or a bundle with policy='gaussian'"
        )
    if samples < 1:
        raise ValueError(f"sample_fields() 'samples' must be at least 1, got {samples}")
    if tau <= 0:
        raise ValueError(f"sample_fields() 'tau' must be positive, got {tau}")
    if len(spacing) != 3 or min(spacing) <= 0:
        raise ValueError(f"sample_fields() 'spacing' must be three positive numbers in mm, got {list(spacing)}")
    generator = torch.Generator(pair.device).manual_seed(seed)
    ddf = network(pair)
    best, scores = 0, [label_free_score(pair, ddf, folding_weight)]
    mean, squares = torch.zeros_like(ddf), torch.zeros_like(ddf)
    for k in range(1, samples + 1):
        field = _draw(network, network.head, pair, tau, generator)
        scores.append(label_free_score(pair, field, folding_weight))
        if scores[-1] > scores[best]:
            ddf, best = field, k
        off = field - mean
        mean += off / k
        squares += off * (field - mean)
    spread = None
    if samples > 1:
        millimetres = squares.new_tensor(list(spacing)).view(1, 3, 1, 1, 1)
        spread = (squares * millimetres.square()).sum(dim=1, keepdim=True).div(samples - 1).sqrt()
    return Samples(ddf, best, torch.cat(scores), spread)


def _draw(
    network: MorphSeekNet, head: GaussianPolicyHead, pair: Tensor, tau: float, generator: torch.Generator
) -> Tensor:
    """One trajectory: every step with a latent of its own."""
    fields = rollout(network, pair, lambda top: head(top).sample(1, tau, generator))
    return next(islice(fields, network.steps - 1, None))
