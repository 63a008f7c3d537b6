"""A similarity at reduced resolution."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from morphseek_monai.losses import MINDSSCLoss, ReducedLoss


def test_compares_means_of_cubes() -> None:
    a, b = torch.rand(2, 1, 1, 4, 6, 8, generator=torch.Generator().manual_seed(0))
    blocks = (a - b).view(1, 1, 2, 2, 3, 2, 4, 2).mean(dim=(3, 5, 7))
    torch.testing.assert_close(ReducedLoss(nn.MSELoss())(a, b), blocks.square().mean())


def test_its_gradient_reaches_every_voxel() -> None:
    a, b = torch.rand(2, 1, 1, 12, 12, 12, generator=torch.Generator().manual_seed(0))
    ReducedLoss(MINDSSCLoss(1, 1))(a.requires_grad_(), b).backward()
    assert a.grad is not None and a.grad.isfinite().all() and a.grad.count_nonzero() > 0.99 * a.numel()


def test_refuses_a_factor_below_one() -> None:
    with pytest.raises(ValueError, match=r"ReducedLoss\(\) 'factor' must be at least 1, got 0"):
        ReducedLoss(nn.MSELoss(), 0)
