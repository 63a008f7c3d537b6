"""Alignment by moments: centres and sizes against arithmetic, on balls and on a head with a stub of neck."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from morphseek_monai.fields import warp
from morphseek_monai.networks import moments_ddf

SIZE = (24, 28, 32)


def ball(centre: tuple[float, float, float], radius: float, size: tuple[int, int, int] = SIZE) -> Tensor:
    """A soft ball, in voxels."""
    axes = torch.meshgrid(*[torch.arange(float(n)) for n in size], indexing="ij")
    squared = sum((axis - c) ** 2 for axis, c in zip(axes, centre, strict=True))
    return torch.exp(-squared / (2 * radius**2))[None, None]


def test_shift_and_scale_are_those_of_the_balls() -> None:
    moving, fixed = ball((13, 14, 17), 2.5), ball((11, 15, 14), 2.0)
    ddf = moments_ddf(moving, fixed)
    torch.testing.assert_close(ddf[0, :, 11, 15, 14], torch.tensor([2.0, -1.0, 3.0]), rtol=0, atol=0.01)
    # three voxels from the centre the map has gone 1.25 times as far
    torch.testing.assert_close(ddf[0, 1, 11, 18, 14], torch.tensor(-1.0 + 0.25 * 3), rtol=0, atol=0.02)
    assert (warp(moving, ddf, "zeros") - fixed).abs().max() < 0.03


@pytest.mark.parametrize(("radius", "scale"), [(1.0, 2.0), (4.0, 0.5)])
def test_scale_is_bounded(radius: float, scale: float) -> None:
    middle = (11.5, 13.5, 15.5)
    ddf = moments_ddf(ball(middle, radius), ball(middle, 2.0), largest_scale=1.25)
    slope = float(ddf[0, 0, 12, 0, 0] - ddf[0, 0, 11, 0, 0])
    assert slope == pytest.approx({2.0: 1 / 1.25, 0.5: 1.25}[scale] - 1, abs=1e-4)


def test_items_of_a_batch_are_apart_and_one_moving_image_serves_all() -> None:
    moving = ball((12, 14, 16), 2.0)
    fixed = torch.cat([ball((10, 14, 16), 2.0), ball((12, 14, 19), 2.0)])
    both = moments_ddf(moving, fixed)
    assert both.shape == (2, 3, *SIZE)
    for i in range(2):
        torch.testing.assert_close(both[i : i + 1], moments_ddf(moving, fixed[i : i + 1]))


def test_brightness_does_not_count() -> None:
    moving, fixed = ball((13, 14, 17), 2.5), ball((11, 15, 14), 2.0)
    torch.testing.assert_close(moments_ddf(100 * moving, fixed), moments_ddf(moving, fixed), rtol=1e-4, atol=1e-4)


def test_a_stub_of_neck_moves_little() -> None:
    """The box around the foreground grows by seven voxels, its middle moves by three and a half."""
    head = ball((12, 14, 19), 3.5).where(ball((12, 14, 19), 3.5) > 0.1, 0)
    neck = head.clone()
    neck[..., 11:13, 13:15, 4:11] = 0.3
    assert moments_ddf(neck, head)[0, :, 12, 14, 19].abs().max() < 0.5


def test_empty_images_stay_finite() -> None:
    empty = torch.zeros(1, 1, *SIZE)
    for pair in ((empty, empty), (empty, ball((12, 14, 16), 2.0)), (ball((12, 14, 16), 2.0), empty)):
        assert moments_ddf(*pair).isfinite().all()
