"""Instance optimisation: improve the answer for one pair by gradient descent on a label-free loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from morphseek_monai.fields import compose, njd_percent, warp
from morphseek_monai.losses import DiffusionLoss, LNCCLoss
from morphseek_monai.networks import MorphSeekNet
from morphseek_monai.registration.score import check_pair, label_free_score
from morphseek_monai.registration.similarity import foreground

WINDOW = 3  # edges, not regions: the network has done the rest
MOST_FOLDING = 0.5  # percent; up to here the tool's verdict is "succeeded"


class Refined(NamedTuple):
    """Result of :func:`refine_latent` and :func:`refine_field`.

    Attributes:
        ddf: the best field, ``(1, 3, D, H, W)`` in voxels; the one it started from where nothing better was found.
        before: :func:`label_free_score` of the start.
        after: that of ``ddf``, never below ``before``.
        history: loss of the start and after every iteration.
    """

    ddf: Tensor
    before: float
    after: float
    history: tuple[float, ...]


def refine_field(
    pair: Tensor, ddf: Tensor, iterations: int, lr: float = 0.1, regularisation: float = 5.0
) -> Refined:
    """Optimise a displacement field itself.

    A residual ``r`` at full resolution is composed with the field, ``u(x) = r(x) + ddf(x + r(x))``, and minimises
    ``1 - LNCC(fixed, warped) + regularisation * diffusion(r)`` over the fixed tissue, by Adam. The residual is regular,
    not the sum: what the network learned from labels is kept. Composing, not adding, keeps the result from folding.

    Args:
        pair: ``(1, 2, D, H, W)``, moving and fixed, intensities in [0, 1].
        ddf: where to start, ``(1, 3, D, H, W)`` in voxels.
        iterations: number of iterations.
        lr: learning rate in voxels an iteration.
        regularisation: weight of :class:`~morphseek_monai.losses.DiffusionLoss`.

    Returns:
        The iterate with the least loss among those that fold no more than ``ddf`` or 0.5 % of the voxels.

    Raises:
        ValueError: When ``iterations`` is below 1 or ``pair`` is not one pair.

    Example:
        >>> fixed = torch.linspace(0, 6, 16).sin().square().view(1, 1, 16, 1, 1).expand(1, 1, 16, 16, 16)
        >>> pair = torch.cat([fixed.roll(1, dims=2), fixed], dim=1)
        >>> result = refine_field(pair, torch.zeros(1, 3, 16, 16, 16), iterations=20)
        >>> result.after > result.before
        True
    """
    check_pair(pair, "refine_field")
    with torch.inference_mode(False), torch.enable_grad():
        pair, start = pair.clone(), ddf.detach().clone()  # a clone of an inference tensor may be differentiated
        residual = torch.zeros_like(start, requires_grad=True)
        dissimilarity, roughness = _dissimilarity(pair), DiffusionLoss()

        def evaluate() -> tuple[Tensor, Tensor]:
            refined = compose(start, residual)
            return dissimilarity(refined) + regularisation * roughness(residual), refined

        return _descend(pair, [residual], evaluate, iterations, lr, "refine_field")


def refine_latent(
    network: MorphSeekNet, pair: Tensor, iterations: int, lr: float = 0.03, regularisation: float = 0.0
) -> Refined:
    """Optimise the latents of all steps, starting at their means; encodings and weights stay as they are.

    Encoding anew what the field so far has warped costs a fifth more and did worse (``docs/benchmarks/quality.md``).
    Only offsets of the latents are differentiated, so that the network is read and never written: neither its weights
    nor their gradients change.

    Args:
        network: in evaluation mode.
        pair: ``(1, 2, D, H, W)``, moving and fixed, intensities in [0, 1].
        iterations: number of iterations; each decodes all steps and back-propagates through them.
        lr: learning rate in units of the latent.
        regularisation: weight of :class:`~morphseek_monai.losses.DiffusionLoss` of the whole field; none by default,
            since what the decoder makes of a latent is smooth.

    Returns:
        The iterate with the least loss among those that fold no more than the start or 0.5 % of the voxels.

    Raises:
        ValueError: When ``iterations`` is below 1 or ``pair`` is not one pair.
    """
    check_pair(pair, "refine_latent")
    with torch.inference_mode(False), torch.enable_grad():
        pair = pair.clone()
        moving, fixed = pair[:, :1], pair[:, 1:]
        nowhere = torch.zeros_like(moving).expand(-1, 3, -1, -1, -1)
        skips, means = [], []
        with torch.no_grad():
            ddf = nowhere
            for t in range(network.steps):
                encoding = network.observe(moving, fixed, ddf, network.scale(t))
                skips.append(encoding.skips)
                means.append(network.mean_latent(encoding.top))
                ddf = network.act(skips[t], means[t], ddf, network.scale(t))
        offsets = [torch.zeros_like(mean, requires_grad=True) for mean in means]
        dissimilarity, roughness = _dissimilarity(pair), DiffusionLoss()

        def evaluate() -> tuple[Tensor, Tensor]:
            refined = nowhere
            for t in range(network.steps):
                # a sum, not the optimised tensor: autocast would keep its first low-precision copy of the latter
                refined = network.act(skips[t], means[t] + offsets[t], refined, network.scale(t))
            return dissimilarity(refined) + regularisation * roughness(refined), refined

        return _descend(pair, offsets, evaluate, iterations, lr, "refine_latent")


def _dissimilarity(pair: Tensor) -> Callable[[Tensor], Tensor]:
    """1 less the local correlation that a field gives, in the fixed tissue."""
    moving, fixed = pair[:, :1], pair[:, 1:]
    mask, lncc = foreground(fixed), LNCCLoss(WINDOW)
    return lambda ddf: 1 + lncc(warp(moving, ddf), fixed, mask)


def _descend(
    pair: Tensor,
    parameters: Sequence[Tensor],
    evaluate: Callable[[], tuple[Tensor, Tensor]],
    iterations: int,
    lr: float,
    function: str,
) -> Refined:
    """Adam on ``parameters``; keeps the best field, ``evaluate`` gives the loss and the field."""
    if iterations < 1:
        raise ValueError(f"{function}() 'iterations' must be at least 1, got {iterations}")
    optimizer = torch.optim.Adam(parameters, lr=lr)
    loss, ddf = evaluate()
    start = best = ddf.detach()
    most = max(MOST_FOLDING, njd_percent(start).item())
    history = [loss.item()]
    least = loss.item()
    for _ in range(iterations):
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters)):
            parameter.grad = gradient
        optimizer.step()
        loss, ddf = evaluate()
        history.append(loss.item())
        if history[-1] < least and njd_percent(ddf.detach()).item() <= most:
            best, least = ddf.detach(), history[-1]
    before, after = (label_free_score(pair, field).item() for field in (start, best))
    if not after > before:
        best, after = start, before
    return Refined(best, before, after, tuple(history))
