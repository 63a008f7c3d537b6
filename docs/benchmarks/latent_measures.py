"""What a refinement step's latent does to the field and to the gradient; see latent.py for what is made of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from morphseek_monai.engines.batch import Pair
from morphseek_monai.engines.grpo import around
from morphseek_monai.fields import compose
from morphseek_monai.losses import MorphSeekLoss
from morphseek_monai.networks import Encoding, LatentPolicy, MorphSeekNet
from morphseek_monai.rewards import DiceGain, Reward, RewardState

BEST_OF = (2, 4, 6, 8, 16)


class Step(NamedTuple):
    """One refinement step of a labelled pair, before it is done.

    Attributes:
        pair: images, labels and masks.
        ddf: accumulated field so far ``(1, 3, D, H, W)``.
        scale: factor by which the network sees the images reduced.
    """

    pair: Pair
    ddf: Tensor
    scale: int

    def state(self, fields: Tensor) -> RewardState:
        """What a reward sees of accumulated fields ``(J, 3, D, H, W)``."""
        label = self.pair.label
        if label is None:
            raise ValueError("Step() 'pair' must be labelled; leave unlabelled pairs out")
        return RewardState(label[:, :1], label[:, 1:], self.ddf, fields)


@torch.no_grad()
def steps_of(network: MorphSeekNet, pair: Pair) -> list[Step]:
    """All steps of a pair, each of which goes on from the mean latent of the one before, as inference does."""
    ddf = pair.image.new_zeros((1, 3, *pair.image.shape[2:]))
    steps = []
    for t in range(network.steps):
        steps.append(Step(pair, ddf, network.scale(t)))
        ddf = network.step(pair.image[:, :1], pair.image[:, 1:], ddf, network.scale(t))
    return steps


def observe(network: MorphSeekNet, step: Step) -> tuple[Encoding, LatentPolicy]:
    """Encoding and policy of a step."""
    if network.head is None:
        raise ValueError("observe() 'network' must have a policy, got MorphSeekNet(policy='none'); leave it out")
    encoding = network.observe(step.pair.image[:, :1], step.pair.image[:, 1:], step.ddf, step.scale)
    return encoding, network.head(encoding.top.float())


def decode(network: MorphSeekNet, skips: list[Tensor], latents: Tensor, step: Step) -> Tensor:
    """Displacements that a step adds by itself, ``(J, 3, D, H, W)``; latent by latent, which bounds the memory."""
    zero = torch.zeros_like(step.ddf)
    return torch.cat([network.act(skips, latent, zero, step.scale) for latent in torch.split(latents, 1)])


def expected_best(values: Tensor, j: int) -> float:
    """Expectation of the largest of ``j`` of the ``values`` ``(n,)``, drawn without replacement; NaN for j > n.

    Example:
        >>> expected_best(torch.tensor([3.0, 1.0, 2.0]), 2)  # of three pairs, two have the 3 and one the 2
        2.6666666666666665
    """
    n = len(values)
    if j > n:
        return math.nan
    ordered = values.sort().values.tolist()
    return math.fsum(math.comb(i, j - 1) * value for i, value in enumerate(ordered)) / math.comb(n, j)


def group_size_for_equal_noise(cosine: float, size: int) -> float:
    """Group size at which noise and signal of a policy gradient have the same power.

    With signal power S and noise power N / J in groups of J, two independent groups have the cosine S / (S + N / J).

    Args:
        cosine: between two groups.
        size: of these groups.

    Returns:
        N / S, infinite where no signal was seen.

    Example:
        >>> [group_size_for_equal_noise(cosine, 10) for cosine in (0.5, 0.1, 0.0)]
        [10.0, 90.0, inf]
    """
    return size * (1 - cosine) / cosine if cosine > 0 else math.inf


@torch.no_grad()
def field_measures(
    network: MorphSeekNet,
    step: Step,
    other: Step,
    num_labels: int,
    samples: int,
    tau: float,
    generator: torch.Generator,
) -> dict[str, float]:
    """What the latent does to field and Dice, and how wide the policy is; Dice in percent, differences in points.

    Args:
        network: with a policy.
        step: the step.
        other: the same step of another pair of the same size.
        num_labels: background included.
        samples: latents drawn.
        tau: temperature of the draw; 1 is tried with the same noise.
        generator: source of the noise.

    Returns:
        ``dice`` of the mean latent; ``z_share`` and ``skip_share``, the mean square by which the step's displacements
        change with another pair's mean latent or skips, over their own mean square; ``sigma`` at tau = 1,
        ``at_lower_clip``, ``at_upper_clip``, ``kl``; ``best_of_J``, what the best of J samples is expected to gain over
        the mean latent; and at ``tau`` and, with the suffix ``_tau1``, at 1: the ``spread`` (standard deviation) of the
        samples' Dice, ``best`` less their mean, ``shift`` of their mean from the mean latent, and ``noise_share``,
        variance of the displacements over their mean square.
    """
    encoding, policy = observe(network, step)
    other_encoding, other_policy = observe(network, other)
    mean = decode(network, encoding.skips, policy.mean, step)
    power = mean.square().mean()

    def share(changed: Tensor) -> float:
        return float((mean - changed).square().mean() / power)

    def dice(displacements: Tensor) -> Tensor:
        state = step.state(compose(step.ddf, displacements))
        return 100 * DiceGain(num_labels)(state._replace(previous_dice=torch.zeros_like(displacements[:1, 0, 0, 0, 0])))

    mean_dice = float(dice(mean))
    measures = {
        "dice": mean_dice,
        "z_share": share(decode(network, encoding.skips, other_policy.mean, step)),
        "skip_share": share(decode(network, other_encoding.skips, policy.mean, step)),
        "sigma": float(policy.log_sigma.exp().mean()),
        "at_lower_clip": float((policy.log_sigma <= network.head.low).float().mean()),  # type: ignore[union-attr]
        "at_upper_clip": float((policy.log_sigma >= network.head.high).float().mean()),  # type: ignore[union-attr]
        "kl": float(policy.kl()),
    }
    noise = policy.noise(samples, generator)
    for suffix, temperature in (("", tau), ("_tau1", 1.0)):
        drawn = decode(network, encoding.skips, policy.latent(noise, temperature), step)
        values = dice(drawn)
        measures |= {
            f"spread{suffix}": float(values.std()),
            f"best{suffix}": float(values.max() - values.mean()),
            f"shift{suffix}": float(values.mean()) - mean_dice,
            f"noise_share{suffix}": float(drawn.var(0).mean() / power),
        }
        if not suffix:
            measures |= {f"best_of_{j}": expected_best(values, j) - mean_dice for j in BEST_OF}
    return measures


def gradient_measures(
    network: MorphSeekNet,
    step: Step,
    loss: MorphSeekLoss,
    credits: Mapping[str, Reward],
    size: int,
    groups: int,
    tau: float,
    generator: torch.Generator,
) -> dict[str, float]:
    """The policy gradients of independent groups, on the parameters that they reach: encoder and policy head.

    Args:
        network: with a policy.
        step: the step.
        loss: the run's objective, whose weights count.
        credits: rewards to compare, global ``(J,)`` or local ``(J, D, H, W)``, by name; the groups are the same.
        size: latents J in a group.
        groups: groups drawn, at least 2.
        tau: temperature of the draw.
        generator: source of the noise.

    Returns:
        For each NAME of ``credits``: ``NAME_cosine``, mean over all pairs of groups; ``NAME_dice_cosine`` of a group
        with the gradient of the soft Dice (positive: they agree); ``NAME_ratio``, norm of a group's gradient over that
        of all other terms, both weighted.
    """
    image, label, mask = step.pair
    encoding, policy = observe(network, step)
    refined = network.act(encoding.skips, policy.mean, step.ddf, step.scale)
    state = step.state(refined)
    others = loss(image, label, refined, policy, None, mask).total
    soft_dice = loss.soft_dice(refined, state.moving_label, state.fixed_label)
    objectives: dict[str, list[Tensor]] = {name: [] for name in credits}
    for _ in range(groups):
        with torch.no_grad():
            latents = policy.sample(size, tau, generator)
            state = state._replace(ddf=compose(step.ddf, decode(network, encoding.skips, latents, step)))
        for name, credit in credits.items():
            rewards = credit(credit.prepare(state))
            rewards = around(rewards, latents.shape[2:]) if rewards.ndim > 1 else rewards
            objectives[name].append(loss.policy(policy, latents, rewards, tau))
    reached = _reached(network, next(iter(objectives.values()))[0])
    size_of_others = float(_gradient(others, reached).norm())
    towards_dice = F.normalize(_gradient(soft_dice, reached), dim=0)
    measures = {}
    for name, own in objectives.items():
        gradients = torch.stack([_gradient(objective, reached) for objective in own])
        directions = F.normalize(gradients, dim=1, eps=1e-30)
        measures[f"{name}_cosine"] = mean_cosine(directions)
        measures[f"{name}_dice_cosine"] = float((directions @ towards_dice).mean())
        measures[f"{name}_ratio"] = loss.policy_weight * float(gradients.norm(dim=1).mean()) / size_of_others
    return measures


def mean_cosine(directions: Tensor) -> float:
    """Mean cosine over all pairs of ``n`` unit vectors ``(n, d)``.

    Example:
        >>> mean_cosine(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))  # 1, 0 and 0
        0.3333333432674408
    """
    cosines = directions @ directions.T
    return float(cosines[~torch.eye(len(cosines), dtype=torch.bool, device=cosines.device)].mean())


def _reached(network: MorphSeekNet, objective: Tensor) -> list[Tensor]:
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(objective, parameters, retain_graph=True, allow_unused=True)
    return [parameter for parameter, gradient in zip(parameters, gradients) if gradient is not None]


def _gradient(objective: Tensor, parameters: list[Tensor]) -> Tensor:
    # zeros where an objective does not reach: the soft Dice knows no sigma
    gradients = torch.autograd.grad(objective, parameters, retain_graph=True, materialize_grads=True)
    return torch.cat([gradient.flatten() for gradient in gradients]).double()
