"""Weakly supervised fine-tuning by group relative policy optimisation (MorphSeek, section C)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from morphseek_monai.engines.batch import Pair
from morphseek_monai.engines.step import StepResult
from morphseek_monai.engines.trainer import RefinementTrainer
from morphseek_monai.losses import Group, field_slope
from morphseek_monai.networks import Encoding
from morphseek_monai.rewards import CheckedReward, RewardState


class GRPOTrainer(RefinementTrainer):
    """A :class:`monai.engines.SupervisedTrainer` whose iteration is MorphSeek's section C.

    Per step: encode once; draw J latents; decode and reward them without gradient, ``chunk`` at a time, sharing the
    skips; decode the mean latent with its graph for the soft Dice and the warm-up terms, since the mean is what
    inference uses; back-propagate these with the policy term; go on from the best trajectory (greedy). Peak memory is
    that of one warm-up step whatever J and T are.

    The paper leaves open which trajectory carries the differentiable terms. The best sample, reparametrised, was tried:
    its gradient shrinks sigma, the policy gradient grows as 1 / sigma, and training became unstable.

    ``loss_function`` is a :class:`~morphseek_monai.losses.MorphSeekLoss`. An unlabelled pair takes the mean latent and
    contributes the terms that need no label.

    Logged beside the loss terms: ``reward`` (mean of the group), ``reward_spread`` (its standard deviation),
    ``reward_best``, ``sigma``; for ``action="field"`` the reward of the mean alone.

    Args:
        reward: rates the trajectories of a step, without gradient: a :class:`~morphseek_monai.rewards.Reward`, or any
            function from a :class:`~morphseek_monai.rewards.RewardState` to J numbers, higher is better. Its answers
            are checked (:class:`~morphseek_monai.rewards.CheckedReward`).
        trajectories: group size J; 1 draws nothing and refines with the mean latent (multi-step soft Dice).
        tau: temperature of the draw. The warm-up, at tau = 0, lets sigma grow without seeing its noise; 1.0 then draws
            trajectories that are far worse than the mean, 0.25 (the bundles' choice) starts near it.
        chunk: trajectories decoded together. 1 costs the least memory; more is faster on a GPU.
        credit: rates the trajectories voxel by voxel, ``(J, D, H, W)``, e.g.
            :class:`~morphseek_monai.rewards.LocalDiceGain`, for the policy term; ``reward`` still chooses the best.
            None (default) gives the whole trajectory its reward, as the paper does.
        action: what the policy term credits. ``"latent"`` (default, the paper's): the latent, by its log-density; local
            credit is averaged over the decoder's reach (27 places of the latent). ``"field"``: the displacements that
            the mean latent decodes to, by :func:`~morphseek_monai.losses.field_slope` from ``trajectories // 2`` noise
            fields; the step goes on from the mean, and nothing more is decoded. That teaches the decoder too and has
            far less noise (``docs/benchmarks/policy.md``). Its unit is the reward's own, so that a policy weight
            compares with the weight of the soft Dice.
        spread: standard deviation of a displacement, in voxels, for ``action="field"``. 0.5: a label changes at half a
            voxel. One number for the whole field needs more where it moves in leaps: 1 or 2 for HD95.
        noise_spacing: voxels for each dimension of that noise along an axis. 1 (default) suits credit by voxel; a
            reward that is one number for the whole field needs smooth noise, e.g. 8, and ``trajectories`` by the dozen,
            which cost no decoding.
        kwargs: see :class:`RefinementTrainer`.

    Raises:
        TypeError: When ``reward`` or ``credit`` cannot be called.
        ValueError: When ``trajectories``, ``chunk`` or ``noise_spacing`` is below 1, ``tau`` or ``spread`` is not
            positive, ``action`` is neither of the two, or J > 1 trajectories are asked of a network without a policy;
            in training, when a reward has the wrong shape or is not finite.
    """

    def __init__(
        self,
        *args: Any,
        reward: Callable[[RewardState], Any],
        trajectories: int = 6,
        tau: float = 1.0,
        chunk: int = 1,
        credit: Callable[[RewardState], Any] | None = None,
        action: str = "latent",
        spread: float = 0.5,
        noise_spacing: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        for name, value in (("trajectories", trajectories), ("chunk", chunk), ("noise_spacing", noise_spacing)):
            if value < 1:
                raise ValueError(f"GRPOTrainer() '{name}' must be at least 1, got {value}")
        if tau <= 0:
            raise ValueError(f"GRPOTrainer() 'tau' must be positive, got {tau}; the mean latent needs trajectories=1")
        if spread <= 0:
            raise ValueError(f"GRPOTrainer() 'spread' must be positive, got {spread}")
        if action not in ("latent", "field"):
            raise ValueError(f"GRPOTrainer() 'action' must be 'latent' or 'field', got {action!r}")
        if trajectories > 1 and self.network.head is None:
            raise ValueError(
                "GRPOTrainer() 'trajectories' above 1 need MorphSeekNet(policy='gaussian'); set trajectories=1"
            )
        self.reward = CheckedReward(reward)
        self.trajectories = trajectories
        self.tau = tau
        self.chunk = chunk
        self.credit = None if credit is None else CheckedReward(credit, by_voxel=True)
        self.action = action
        self.spread = spread
        self.noise_spacing = noise_spacing

    def refine(self, pair: Pair, ddf: Tensor, generator: torch.Generator, scale: int = 1) -> StepResult:
        """One step: sample, reward, choose the best, judge it."""
        image, label, mask = pair
        encoding, policy, latent = self.observe(image, ddf, scale)
        group: Group | None = None
        best: Tensor | None = None
        terms: dict[str, Tensor | float] = {}
        state: RewardState | None = None
        if policy is not None and label is not None and self.trajectories > 1:
            state = self.reward.prepare(RewardState(label[:, :1], label[:, 1:], ddf, ddf, image=image))
        if policy is not None and state is not None and self.action == "latent":
            with torch.no_grad():
                latents = policy.sample(self.trajectories, self.tau, generator)
                rewards, credit, best = self._rewards(image, encoding, latents, state, scale)
            group = Group(latents, rewards if credit is None else credit, self.tau)
            terms = {
                "reward": rewards.mean(),
                "reward_spread": rewards.std(correction=0),
                "reward_best": rewards.max(),
            }
        with self.autocast(image, scale):
            refined = self.network.act(encoding.skips, latent, ddf, scale)
        if state is not None and self.action == "field":
            state = state._replace(ddf=refined.detach())
            reward = self.reward(state)
            group = Group(latent.detach(), reward, self.tau, self._slope(state, generator))
            terms = {"reward": reward.mean()}
        loss = self.loss_function(image, label, refined, policy, group, mask)
        terms |= {name: value.detach() for name, value in loss._asdict().items() if name != "total"}
        if policy is not None:
            terms["sigma"] = self.tau * policy.log_sigma.detach().exp().mean()
        return StepResult(loss.total, refined if best is None else best, terms)

    def _slope(self, state: RewardState, generator: torch.Generator) -> Tensor:
        """Slope of the credit, or of the reward where there is none, by the field ``state.ddf``."""
        rate = self.reward if self.credit is None else self.credit
        around_it = state if self.credit is None else state._replace(previous=state.ddf)  # what credit is expanded at
        return field_slope(
            lambda fields: rate(around_it._replace(ddf=fields)),
            state.ddf,
            self.spread,
            self.trajectories // 2,
            generator,
            self.noise_spacing,
        )

    def _rewards(
        self, image: Tensor, encoding: Encoding, latents: Tensor, state: RewardState, scale: int
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Decode all trajectories, ``chunk`` at a time.

        Returns:
            Their rewards ``(J,)``, their local credit ``(J, d, h, w)`` if asked for, and the field of the best.
        """
        ddf = state.previous
        rewards: list[Tensor] = []
        credits: list[Tensor] = []
        best, best_reward = ddf, float("-inf")
        for start in range(0, len(latents), self.chunk):
            with self.autocast(image, scale):
                fields = self.network.act(encoding.skips, latents[start : start + self.chunk], ddf, scale)
            rewards.append(self.reward(state._replace(ddf=fields)))
            if self.credit is not None:
                credits.append(around(self.credit(state._replace(ddf=fields)), latents.shape[2:]))
            j = int(rewards[-1].argmax())
            if float(rewards[-1][j]) > best_reward:
                best, best_reward = fields[j : j + 1], float(rewards[-1][j])
        return torch.cat(rewards), torch.cat(credits) if credits else None, best


def around(credit: Tensor, size: Sequence[int]) -> Tensor:
    """Mean of voxel-wise credit around each place of the latent: its own block and the 26 next to it.

    Args:
        credit: ``(J, D, H, W)``.
        size: size (d, h, w) of the latent map.

    Returns:
        ``(J, d, h, w)``.
    """
    blocks = F.adaptive_avg_pool3d(credit.unsqueeze(1), (size[0], size[1], size[2]))
    return F.avg_pool3d(blocks, 3, stride=1, padding=1, count_include_pad=False)[:, 0]
