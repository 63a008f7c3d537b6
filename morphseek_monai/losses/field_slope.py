"""How an expected reward changes with the displacement of each voxel, learned from sampled fields."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

WINDOW = 5  # voxels over which the samples' variance is averaged: six samples alone tell it to a third
FLOOR = 1e-3  # of the mean variance: where the samples hardly move, they tell little


class FieldSlope:
    """Gradient of the expected reward by the mean field, estimated from J sampled fields at constant memory.

    The policy draws latents, but what is rewarded is the field that they decode to. A voxel's displacement has three
    dimensions where the latent has thousands; so six samples say much about the one and next to nothing about the
    other. For Gaussian displacements the gradient is the score function's (Stein's identity), ::

        d E[c(x)] / d mean u(x) = Cov(c(x), u(x)) / Var u(x)

    with ``c(x)`` what was earned at ``x``. It is exact for a reward that is a sum over the voxels of functions of their
    own displacement, as hard Dice is to first order. One reward for the whole field is credited to every voxel alike:
    its covariance then sees all displacements that move together, and is divided by their number.

    The variance is one number a voxel: the mean over the three axes, and over a window.

    Args:
        reference: field near the samples, ``(1, 3, D, H, W)`` in voxels; deviations are taken from it, for precision.
        together: number of voxels that move together, for rewards of the whole field.

    Example:
        >>> fields = torch.randn(400, 3, 4, 4, 4, generator=torch.Generator().manual_seed(0))
        >>> slope = FieldSlope(torch.zeros(1, 3, 4, 4, 4))
        >>> slope.add(fields, 2 * fields[:, 0] - fields[:, 2])  # what a voxel earns where it stands
        >>> slope.value().mean((0, 2, 3, 4)).round()
        tensor([ 2., 0., -1.])
    """

    def __init__(self, reference: Tensor, together: float = 1.0) -> None:
        self._reference = reference.detach()
        self._together = together
        self._count = 0
        self._first: Tensor | None = None
        self._sums = [torch.zeros_like(self._reference[:, :n]) for n in (3, 1, 1, 3)]  # of u, u^2, c and c u

    def add(self, fields: Tensor, credit: Tensor) -> None:
        """Take in some samples.

        Args:
            fields: ``(n, 3, D, H, W)`` in voxels.
            credit: what each earned, ``(n, D, H, W)`` by voxel, or ``(n,)`` as a whole.
        """
        if credit.ndim == 1:
            credit = credit.view(-1, 1, 1, 1) / self._together
        if self._first is None:
            self._first = credit[:1].detach()
        u, c = fields.detach() - self._reference, (credit.detach() - self._first)[:, None]
        self._count += len(u)
        for total, term in zip(self._sums, (u, u.square().sum(1, keepdim=True), c, c * u), strict=True):
            total += term.sum(0, keepdim=True)

    def spread(self) -> Tensor:
        """Root mean square deviation of a displacement, along one axis, from the samples' mean; in voxels, a scalar."""
        return self._variance().mean().sqrt()

    def value(self) -> Tensor:
        """The gradient ``(1, 3, D, H, W)``, in reward per voxel of displacement.

        Raises:
            ValueError: Of fewer than two samples.
        """
        if self._count < 2:
            raise ValueError(f"FieldSlope.value() needs at least 2 samples, got {self._count}; add more")
        u, _, c, cu = self._sums
        covariance = (cu - c * u / self._count) / (self._count - 1)
        variance = F.avg_pool3d(self._variance(), WINDOW, stride=1, padding=WINDOW // 2, count_include_pad=False)
        return covariance / (variance + FLOOR * variance.mean() + 1e-12)

    def _variance(self) -> Tensor:
        u, uu, _, _ = self._sums
        return (uu - u.square().sum(1, keepdim=True) / self._count) / (3 * (self._count - 1))
