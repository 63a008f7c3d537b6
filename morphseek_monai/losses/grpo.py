"""Group relative policy optimisation with latent-dimension variance normalisation (MorphSeek, section C)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from morphseek_monai.networks.policy import LatentPolicy, ldvn_scale


def group_advantages(rewards: Tensor, eps: float = 1e-6) -> Tensor:
    """Standardise the rewards of one group: ``(R - mean R) / (std R + eps)``.

    Args:
        rewards: ``(J,)``, or ``(J, d, h, w)`` for local credit, where every place is a group of its own.
        eps: added to the (population) standard deviation. Rewards are shares of 0..1, and a group of six spreads over
            1e-4 to 1e-2 of them, so 1e-6 leaves a real spread alone; equal rewards give exact zeros.

    Returns:
        As ``rewards``, float32, without gradient, of zero mean over J.
    """
    centred = rewards.detach().double()
    centred = centred - centred.mean(0)
    spread = centred.square().mean(0).sqrt()
    # equal up to rounding: no trajectory is better than another
    return torch.where(spread < 1e-12, 0.0, centred / (spread + eps)).float()


class GRPOLoss(nn.Module):
    """``-(1/J) sum_j A_j * log pi~(z_j)``: no critic, no ratio; one update per group, on-policy.

    The latents are constants here, so the gradient reaches the encoder and the policy head only.

    Args:
        scale: LDVN divisor s of the log-density: ``"sqrt"`` (sqrt N, the paper's), ``"one"``, ``"dim"`` or a number.
        eps: see :func:`group_advantages`.

    Raises:
        ValueError: When ``scale`` is not one of these.

    Example:
        >>> import torch
        >>> from morphseek_monai.networks import LatentPolicy
        >>> mu = torch.zeros(1, 4, 2, 2, 2, requires_grad=True)
        >>> policy = LatentPolicy(mu, torch.zeros_like(mu))
        >>> loss = GRPOLoss()(policy, policy.sample(6), rewards=torch.rand(6))
        >>> loss.backward(); mu.grad.shape
        torch.Size([1, 4, 2, 2, 2])
    """

    def __init__(self, scale: str | float = "sqrt", eps: float = 1e-6) -> None:
        super().__init__()
        ldvn_scale(scale, 1)
        self.scale = scale
        self.eps = eps

    def forward(self, policy: LatentPolicy, latents: Tensor, rewards: Tensor, tau: float = 1.0) -> Tensor:
        """Policy loss of one group.

        Args:
            policy: policy of one pair.
            latents: ``(J, C, d, h, w)`` drawn from it at temperature ``tau``.
            rewards: ``(J,)``; or ``(J, d, h, w)`` on the grid of the latents, each place of which is then judged by
                what happened around it.
            tau: temperature of the draw.

        Raises:
            ValueError: When ``latents`` and ``rewards`` differ in length.
        """
        if latents.shape[0] != rewards.shape[0]:
            raise ValueError(
                f"GRPOLoss() 'rewards' must have one entry per latent ({latents.shape[0]}), got {rewards.shape[0]}"
            )
        advantages = group_advantages(rewards, self.eps).to(latents.device)
        log_prob = policy.log_prob(latents.detach(), self.scale, tau, local=rewards.ndim > 1)
        return -(advantages * log_prob).sum() / len(rewards)
