"""The objective of one refinement step of the fine-tuning (MorphSeek, section C, item 6)."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from morphseek_monai.losses.grpo import GRPOLoss
from morphseek_monai.losses.soft_dice import SoftDiceLoss
from morphseek_monai.losses.warmup import WarmupLoss
from morphseek_monai.networks.policy import LatentPolicy


class Group(NamedTuple):
    """The trajectories of one pair at one step.

    Attributes:
        latents: ``(J, C, d, h, w)``.
        rewards: ``(J,)``, or ``(J, d, h, w)`` place by place.
        tau: temperature the latents were drawn at.
        slope: gradient ``(1, 3, D, H, W)`` of the expected reward by the field of the mean latent
            (:func:`~morphseek_monai.losses.field_slope`). It then takes the place of the latents' score; None (default)
            leaves that to ``policy``.
    """

    latents: Tensor
    rewards: Tensor
    tau: float
    slope: Tensor | None = None


class MorphSeekTerms(NamedTuple):
    """Terms of :class:`MorphSeekLoss`, scalars; ``total`` carries the gradient of all."""

    total: Tensor
    policy: Tensor
    dice: Tensor
    similarity: Tensor
    regularisation: Tensor
    kl: Tensor


class MorphSeekLoss(nn.Module):
    """``policy_weight * L_policy + dice_weight * L_softDice + warmup_weight * L_warm``.

    The similarity must stay: without it the policy finds folded, blurred anatomies with a good Dice.

    Args:
        warmup: the unsupervised objective.
        num_labels: number of labels, background included.
        policy: the policy objective.
        warmup_weight: weight of ``warmup``.
        dice_weight: weight of the differentiable soft Dice.
        policy_weight: weight of ``policy``; 0 leaves multi-step soft Dice, the paper's strongest baseline.
    """

    def __init__(
        self,
        warmup: WarmupLoss,
        num_labels: int,
        policy: GRPOLoss | None = None,
        warmup_weight: float = 1.0,
        dice_weight: float = 1.0,
        policy_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.warmup = warmup
        self.soft_dice = SoftDiceLoss(num_labels)
        self.policy = GRPOLoss() if policy is None else policy
        self.warmup_weight = warmup_weight
        self.dice_weight = dice_weight
        self.policy_weight = policy_weight

    def forward(
        self,
        image: Tensor,
        label: Tensor | None,
        ddf: Tensor,
        policy: LatentPolicy | None,
        group: Group | None = None,
        mask: Tensor | None = None,
    ) -> MorphSeekTerms:
        """Evaluate one pair.

        Args:
            image: ``(1, 2, D, H, W)``, moving and fixed.
            label: ``(1, 2, D, H, W)`` integer labels, or None for an unlabelled pair (no Dice term).
            ddf: the chosen accumulated field ``(1, 3, D, H, W)``, with its graph.
            policy: policy of this step, or None for a network without one.
            group: the sampled trajectories, or None when none were drawn (no policy term).
            mask: ``(1, 2, D, H, W)``, where the similarity counts, or None; see :class:`WarmupLoss`. Dice is never
                masked, as in Learn2Reg's evaluation.
        """
        anchor = self.warmup(image[:, :1], image[:, 1:], ddf, policy, mask)
        zero = ddf.new_zeros(())
        dice = self.soft_dice(ddf, label[:, :1], label[:, 1:]) if label is not None and self.dice_weight else zero
        policy_loss = zero
        if group is not None and policy is not None and self.policy_weight:
            if group.slope is None:
                policy_loss = self.policy(policy, group.latents, group.rewards, group.tau)
            else:  # of value 0: what counts is its gradient
                policy_loss = -(group.slope * (ddf - ddf.detach())).sum()
        total = self.warmup_weight * anchor.total + self.dice_weight * dice + self.policy_weight * policy_loss
        return MorphSeekTerms(
            total, policy_loss, dice, anchor.similarity, anchor.regularisation, anchor.kl
        )
