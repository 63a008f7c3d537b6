"""What a reward sees and returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor


class RewardState(NamedTuple):
    """J candidate fields for one pair at one refinement step.

    Attributes:
        moving_label: label map of the unwarped moving image ``(1, 1, D, H, W)``, integers, 0 = background.
        fixed_label: label map of the fixed image ``(1, 1, D, H, W)``.
        previous: accumulated field before the step ``(1, 3, D, H, W)`` in voxels.
        ddf: accumulated fields after the step, one per trajectory ``(J, 3, D, H, W)`` in voxels.
        previous_dice: Dice that ``previous`` reaches ``(1,)``, filled in by :meth:`Reward.prepare`; None when
            not known yet.
        image: the pair ``(1, 2, D, H, W)``, moving and fixed, as the network sees it; None where a caller has none.
    """

    moving_label: Tensor
    fixed_label: Tensor
    previous: Tensor
    ddf: Tensor
    previous_dice: Tensor | None = None
    image: Tensor | None = None


class Reward(ABC):
    """Rates trajectories: higher is better, no gradient.

    A trajectory's reward depends on that trajectory only, so the J trajectories may be rated in chunks of any
    size. What they share is computed once per step by :meth:`prepare`::

        state = reward.prepare(RewardState(moving_label, fixed_label, previous, ddf=chunks[0]))
        rewards = torch.cat([reward(state._replace(ddf=chunk)) for chunk in chunks])
    """

    @abstractmethod
    def __call__(self, state: RewardState) -> Tensor:
        """Rewards ``(J,)`` of the J fields ``state.ddf``."""

    def prepare(self, state: RewardState) -> RewardState:
        """Fill in what all trajectories of the step share; ``state.ddf`` is not looked at.

        Calling the reward without it gives the same result, at the cost of computing the shared part again.
        """
        return state
