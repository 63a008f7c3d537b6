"""Any callable as a reward, its answers checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from morphseek_monai.rewards.reward import Reward, RewardState


class CheckedReward(Reward):
    """A :class:`Reward`, or any function of a :class:`RewardState`, as a reward that answers what a trainer can use.

    Args:
        function: rates the J fields ``state.ddf``, higher is better: a tensor, an array or a list of J finite numbers,
            of any type and on any device. J varies from call to call.
        by_voxel: whether it must rate every voxel instead, ``(J, D, H, W)``.

    Raises:
        TypeError: When ``function`` cannot be called, or its answer is not made of numbers.
        ValueError: When its answer has another shape, or is not finite though the fields are.

    Example:
        >>> still = torch.zeros(2, 3, 8, 8, 8)
        >>> label = torch.ones(1, 1, 8, 8, 8, dtype=torch.uint8)
        >>> reward = CheckedReward(lambda state: [-float(field.abs().mean()) for field in state.ddf])
        >>> reward(RewardState(label, label, still[:1], still))
        tensor([-0., -0.])
    """

    def __init__(self, function: Callable[[RewardState], Any], by_voxel: bool = False) -> None:
        named = getattr(function, "func", function)  # of a partial, as a bundle's "_mode_": "callable" makes
        self.name = getattr(named, "__name__", type(named).__name__)
        if not callable(function):
            raise TypeError(f"reward must be a function of a RewardState, got {function!r}; name one by _target_")
        self.function = function
        self.by_voxel = by_voxel

    @torch.no_grad()
    def __call__(self, state: RewardState) -> Tensor:
        """Rewards ``(J,)``, or ``(J, D, H, W)``, float32 on the fields' device."""
        answer, ddf = self.function(state), state.ddf
        shape = (len(ddf), *ddf.shape[2:]) if self.by_voxel else (len(ddf),)
        each = "voxel of each field" if self.by_voxel else "field of state.ddf"
        try:
            rewards = torch.as_tensor(answer, dtype=torch.float32, device=ddf.device)
        except (TypeError, ValueError, RuntimeError):
            kind = type(answer).__name__
            raise TypeError(f"reward {self.name} must return numbers, got {kind}; return one for each {each}") from None
        if rewards.shape != shape:
            got = tuple(rewards.shape)
            raise ValueError(f"reward {self.name} must have shape {shape}, got {got}; return a number for each {each}")
        # a network that met NaN moves by NaN: the trainer skips that iteration and names the pair
        if ddf.isfinite().all() and not rewards.isfinite().all():
            bad = rewards[~rewards.isfinite()][0].item()
            raise ValueError(
                f"reward {self.name} must be finite, got {bad}; return a low number for a field that cannot be rated"
            )
        return rewards

    def prepare(self, state: RewardState) -> RewardState:
        """Let the reward fill in what the trajectories share."""
        return self.function.prepare(state) if isinstance(self.function, Reward) else state
