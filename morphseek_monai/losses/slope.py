"""How an expected reward changes with the displacement of each voxel, learned from disturbed fields."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def field_slope(
    earned: Callable[[Tensor], Tensor],
    field: Tensor,
    spread: float,
    pairs: int,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Gradient of the expected reward by the mean field, of a policy whose action is every voxel's displacement.

    With independent Gaussian noise ``n`` of every displacement, the score function's gradient (Stein's identity) is ::

        d E[c(x)] / d u(x) = E[(c(u + s n) - c(u - s n)) n](x) / (2 s)

    with ``c(x)`` what was earned at ``x``: three dimensions share one credit, where thousands of a latent do. It is
    without bias for a reward that is a sum over the voxels of functions of their own displacement, as hard Dice is to
    first order. Noise of both signs cancels whatever is even. Nothing is differentiated, and nothing decoded.

    Args:
        earned: from fields ``(2, 3, D, H, W)`` in voxels to what each earned by voxel, ``(2, D, H, W)``; or as a whole,
            ``(2,)``, which is credited to every voxel and tells far less.
        field: mean field ``(1, 3, D, H, W)`` in voxels.
        spread: standard deviation ``s`` of the noise in voxels; the reward is smoothed by as much.
        pairs: noise fields drawn, each of which is used with both signs.
        generator: source of the noise, on the field's device.

    Returns:
        ``(1, 3, D, H, W)``, in reward per voxel of displacement, without gradient.

    Example:
        >>> still = torch.zeros(1, 3, 16, 16, 16)
        >>> generator = torch.Generator().manual_seed(0)
        >>> slope = field_slope(lambda fields: 2 * fields[:, 0] - 3 * fields[:, 1].abs(), still, 0.5, 1, generator)
        >>> slope.mean((0, 2, 3, 4)).abs().round()
        tensor([2., 0., 0.])
    """
    with torch.no_grad():
        total = torch.zeros_like(field)
        for _ in range(pairs):
            noise = torch.randn(field.shape, generator=generator, device=field.device, dtype=field.dtype)
            up, down = earned(torch.cat([field + spread * noise, field - spread * noise]))
            total += (up - down) * noise
        return total / (2 * spread * pairs)
