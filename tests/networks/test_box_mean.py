"""Shifted additions against average pooling."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from morphseek_monai.networks.box_mean import box_mean, differentiable_box_mean


@pytest.mark.parametrize("window", [*range(1, 10), 11])
def test_equals_average_pooling(window: int) -> None:
    torch.manual_seed(0)
    maps = torch.rand(2, 3, 11, 13, 12, dtype=torch.float64)
    torch.testing.assert_close(box_mean(maps, window), F.avg_pool3d(maps, window, stride=1))


def test_input_is_not_changed() -> None:
    maps = torch.rand(1, 2, 6, 6, 6)
    before = maps.clone()
    box_mean(maps, 3)
    assert torch.equal(maps, before)


@pytest.mark.parametrize("window", [2, 3, 5])
def test_passes_gradcheck_twice(window: int) -> None:
    torch.manual_seed(0)
    maps = torch.rand(1, 2, 5, 6, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: differentiable_box_mean(x, window), maps)
    assert torch.autograd.gradgradcheck(lambda x: differentiable_box_mean(x, window), maps)


def test_small_values_beside_large_ones_survive() -> None:
    maps = torch.full((1, 1, 9, 9, 40), 1e-3)
    maps[..., :20] = 1e4
    torch.testing.assert_close(box_mean(maps, 9)[..., 20:], torch.full((1, 1, 1, 1, 12), 1e-3))


def test_compiles_under_torchscript() -> None:
    maps = torch.rand(1, 2, 9, 9, 9)
    torch.testing.assert_close(torch.jit.script(box_mean)(maps, 5), box_mean(maps, 5))
