"""Weight gradients in matrix products against PyTorch's, in every way that they are cut."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from morphseek_monai.networks import weight_gradient as module
from morphseek_monai.networks.weight_gradient import weight_gradient


def expected(grad: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """In double precision."""
    return torch.nn.grad.conv3d_weight(x.double(), list(weight.shape), grad.double(), padding=1).float()


def case(channels: tuple[int, int], size: tuple[int, int, int], kernel: int, batch: int = 1) -> list[Tensor]:
    torch.manual_seed(0)
    after = [n + 3 - kernel for n in size]
    x, weight = torch.randn(batch, channels[0], *size), torch.randn(*channels[::-1], kernel, kernel, kernel)
    grad = torch.randn(batch, channels[1], *after)
    return [grad.to(memory_format=torch.channels_last_3d), x.to(memory_format=torch.channels_last_3d), weight]


@pytest.mark.parametrize("kernel", [2, 3])
@pytest.mark.parametrize("slices", [1, 2, 3, 5, 100])
def test_slabs_of_any_thickness_add_up(kernel: int, slices: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SLAB_SLICES", slices)
    monkeypatch.setattr(module, "_SLAB_VOXELS", 1)
    arguments = case((5, 4), (7, 4, 6), kernel, batch=2)
    torch.testing.assert_close(weight_gradient(*arguments), expected(*arguments), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kernel", [2, 3])
@pytest.mark.parametrize("size", [(1, 1, 1), (1, 5, 2), (2, 1, 3), (3, 2, 1)])
def test_thin_images(size: tuple[int, int, int], kernel: int) -> None:
    arguments = case((4, 6), size, kernel)
    torch.testing.assert_close(weight_gradient(*arguments), expected(*arguments), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("channels", [(1, 5), (3, 2), (130, 128)])
def test_few_and_many_channels(channels: tuple[int, int]) -> None:
    arguments = case(channels, (4, 5, 3), 3)
    torch.testing.assert_close(weight_gradient(*arguments), expected(*arguments), atol=1e-4, rtol=1e-4)
