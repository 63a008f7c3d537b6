from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

SmoothDDF = Callable[..., torch.Tensor]


@pytest.fixture
def smooth_ddf() -> SmoothDDF:
    """Random sums of low-frequency cosines `(batch, 3, *size)`, or sines (0 on the border) where `pinned`.

    The largest component of the batch is `peak` voxels.
    """

    def make(
        size: tuple[int, int, int] = (16, 18, 20),
        peak: float = 2.0,
        seed: int = 0,
        batch: int = 1,
        pinned: bool = False,
    ) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        amplitude = torch.randn(batch, 3, 2, 2, 2, generator=generator, dtype=torch.float64)
        wave = torch.sin if pinned else torch.cos
        waves = [
            wave(torch.pi * torch.outer(torch.arange(1, 3), torch.linspace(0, 1, n))).double() for n in size
        ]
        field = torch.einsum("bcijk,id,jh,kw->bcdhw", amplitude, *waves)
        return (field * (peak / field.abs().max())).float()

    return make


@pytest.fixture
def smooth_image() -> Callable[[tuple[int, int, int]], torch.Tensor]:
    """A smooth image `(1, 1, *size)` in 0..1 that differs along each axis."""

    def make(size: tuple[int, int, int] = (16, 18, 20)) -> torch.Tensor:
        d, h, w = torch.meshgrid(*[torch.linspace(0, 1, n) for n in size], indexing="ij")
        return (0.5 + 0.5 * torch.sin(6 * d + 1) * torch.cos(7 * h) * torch.sin(5 * w + 0.5))[None, None]

    return make
