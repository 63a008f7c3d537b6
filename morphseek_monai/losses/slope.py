"""How an expected reward changes with the displacement of each voxel, learned from disturbed fields."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor


def field_slope(
    earned: Callable[[Tensor], Tensor],
    field: Tensor,
    spread: float,
    pairs: int,
    generator: torch.Generator | None = None,
    spacing: int = 1,
) -> Tensor:
    """Gradient of the expected reward by the mean field, of a policy whose action is the displacement field.

    With Gaussian noise ``n`` of every displacement, the score function's gradient (Stein's identity) is ::

        d E[c(x)] / d u(x) = E[(c(u + s n) - c(u - s n)) n](x) / (2 s)

    with ``c(x)`` what was earned at ``x``: three dimensions share one credit, where thousands of a latent do. It is
    without bias for a reward that is a sum over the voxels of functions of their own displacement, as hard Dice is to
    first order. Noise of both signs cancels whatever is even. Nothing is differentiated, and nothing decoded.

    A reward that is one number for the whole field is credited to every displacement; such an estimate errs by some
    dimensions / ``pairs`` of the gradient, squared. ``spacing`` above 1 takes the noise from the lowest spatial
    frequencies alone (cosines, as SPM's normalisation: Ashburner and Friston, 1999), one dimension an axis for
    ``spacing`` voxels: 24 x 32 x 24 voxels have 108 at 8, where they have 55,296. What comes out is the gradient's
    orthogonal projection on such smooth fields. The pairs' noise is orthogonal there (Choromanski et al., "Structured
    evolution with compact architectures", ICML 2018), so that the error is dimensions / ``pairs`` - 1, and as many
    pairs as dimensions leave none for a reward that is quadratic within the noise.

    Args:
        earned: from fields ``(2, 3, D, H, W)`` in voxels to what each earned by voxel, ``(2, D, H, W)``; or as a whole,
            ``(2,)``.
        field: mean field ``(1, 3, D, H, W)`` in voxels.
        spread: root mean square ``s`` of the noise in voxels; the reward is smoothed by as much.
        pairs: noise fields drawn, each of which is used with both signs.
        generator: source of the noise, on the field's device.
        spacing: voxels for each dimension of the noise along an axis; 1 (default): independent noise in every voxel.

    Returns:
        ``(1, 3, D, H, W)``, in reward per voxel of displacement, without gradient.

    Example:
        >>> still = torch.zeros(1, 3, 16, 16, 16)
        >>> generator = torch.Generator().manual_seed(0)
        >>> slope = field_slope(lambda fields: 2 * fields[:, 0] - 3 * fields[:, 1].abs(), still, 0.5, 1, generator)
        >>> slope.mean((0, 2, 3, 4)).abs().round()
        tensor([2., 0., 0.])
    """
    size = field.shape[2:]
    kept = math.prod(math.ceil(n / spacing) for n in size) / math.prod(size)
    with torch.no_grad():
        total = torch.zeros_like(field)
        for noise in _white(field, pairs, generator) if spacing == 1 else _smooth(field, pairs, generator, spacing):
            up, down = earned(torch.cat([field + spread * noise, field - spread * noise]))
            total += (up - down) * noise
        return total * kept / (2 * spread * pairs)


def _white(field: Tensor, count: int, generator: torch.Generator | None) -> Iterator[Tensor]:
    for _ in range(count):
        yield torch.randn(field.shape, generator=generator, device=field.device, dtype=field.dtype)


def _smooth(field: Tensor, count: int, generator: torch.Generator | None, spacing: int) -> Iterator[Tensor]:
    """Noise ``(1, 3, D, H, W)`` of root mean square 1 in the lowest frequencies, in orthogonal directions."""
    waves = [_lowest(n, spacing).to(field) for n in field.shape[2:]]
    modes = [len(w) for w in waves]
    dimensions = 3 * math.prod(modes)
    height = math.sqrt(field.numel())
    while count > 0:
        taken = min(count, dimensions)
        drawn = torch.randn(dimensions, taken, generator=generator, device=field.device, dtype=field.dtype)
        for direction in torch.linalg.qr(drawn).Q.T:
            coefficients = height * direction.view(1, 3, *modes)
            yield torch.einsum("bcijk,id,jh,kw->bcdhw", coefficients, *waves)
        count -= taken


def _lowest(n: int, spacing: int) -> Tensor:
    """The ``n / spacing`` slowest orthonormal cosines (DCT-II) on ``n`` voxels, ``(frequencies, n)``."""
    frequencies = torch.arange(math.ceil(n / spacing), dtype=torch.float64)
    return F.normalize(torch.cos(math.pi / n * frequencies[:, None] * (torch.arange(n) + 0.5)), dim=1)
