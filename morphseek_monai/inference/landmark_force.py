"""Landmarks that a field is to respect: a smooth pull beside that of the images, and what missing them costs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

SPREAD = 4.0  # voxels of the level, standard deviation: its radius halves from level to level
LARGEST = 1.0  # voxels that a landmark pulls in one iteration: a quarter of the spread, so that no step folds
PENALTY = 0.2  # of the similarity, for every voxel of the level that landmarks are off on average


class LandmarkForce:
    """Corresponding points of two images.

    In each iteration every landmark pulls its surroundings by what it is off, at most by a voxel, weighted by a
    Gaussian; where several landmarks are near, their mean counts, and far from all of them nothing moves::

        step(x) = sum_i K(x - p_i) r_i / max(sum_i K(x - p_i), 1)

    Coarse levels carry whole regions along, fine ones correct what is left. The images pull at the same time, so that a
    landmark that contradicts them, or its neighbours, is approached and not met.

    Args:
        fixed: ``(3, N)`` in voxels of a grid.
        wanted: where the field should bring them, ``(3, N)``, likewise.
        size: of the grid ``(D, H, W)``.
    """

    def __init__(self, fixed: Tensor, wanted: Tensor, size: Sequence[int]) -> None:
        self.fixed, self.wanted, self.size = fixed, wanted, tuple(size)

    def at(self, size: Sequence[int]) -> LandmarkForce:
        """The same on a grid ``(D', H', W')`` over the same extent, in its voxels."""
        factor = torch.tensor([n / m for n, m in zip(size, self.size)], device=self.fixed.device)[:, None]
        fixed, wanted = ((points + 0.5) * factor - 0.5 for points in (self.fixed, self.wanted))
        return LandmarkForce(fixed, wanted, size)

    def residuals(self, ddf: Tensor) -> Tensor:
        """What a field ``(3, D, H, W)`` on this grid leaves, ``(3, N)`` in voxels; its edge continues beyond it."""
        last = torch.tensor(self.size, device=ddf.device)[:, None] - 1
        where = (2 * self.fixed / last - 1).flip(0).T.view(1, 1, 1, -1, 3)
        found = F.grid_sample(ddf[None], where, mode="bilinear", padding_mode="border", align_corners=True)
        return self.wanted - self.fixed - found[0, :, 0, 0]

    def penalty(self, ddf: Tensor) -> float:
        """What a field's residuals take from its similarity."""
        return PENALTY * float(torch.linalg.vector_norm(self.residuals(ddf), dim=0).mean())

    def step(self, ddf: Tensor) -> Tensor:
        """Where to move a field ``(3, D, H, W)`` next, in voxels, to be composed with it."""
        residuals = self.residuals(ddf)
        lengths = torch.linalg.vector_norm(residuals, dim=0)
        pulls = residuals * (LARGEST / lengths.clamp(min=LARGEST))
        depth, height, width = (
            torch.exp(-(torch.arange(n, device=ddf.device) - points[:, None]).square() / (2 * SPREAD**2))
            for n, points in zip(self.size, self.fixed)
        )  # (N, D), (N, H), (N, W)
        weighted = torch.cat([pulls, torch.ones_like(pulls[:1])])
        planes = [(weighted[:, None] * (along * height.T)) @ width for along in depth.T]  # (4, H, W) each
        sums = torch.stack(planes, dim=1)
        step: Tensor = sums[:3] / sums[3].clamp(min=1)
        return step
