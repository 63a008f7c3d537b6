"""MIND-SSC for networks: against the definition, one voxel at a time, and under TorchScript."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from morphseek_monai.losses import MINDSSCLoss
from morphseek_monai.networks.mind import mind_ssc, neighbour_differences

STEPS = [(-1, 0, 0), (0, -1, 0), (0, 0, -1), (0, 0, 1), (0, 1, 0), (1, 0, 0)]


@pytest.fixture
def image() -> Tensor:
    return torch.rand((2, 1, 9, 10, 11), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dilation", [1, 2])
def test_differences_are_those_of_neighbours_that_touch(image: Tensor, dilation: int) -> None:
    pairs = [(i, j) for i in range(6) for j in range(i) if math.dist(STEPS[i], STEPS[j]) < 2]
    x = (4, 5, 6)
    values = [float(image[1, 0, x[0] + dilation * a, x[1] + dilation * b, x[2] + dilation * c]) for a, b, c in STEPS]
    expected = torch.tensor([(values[i] - values[j]) ** 2 for i, j in pairs])
    torch.testing.assert_close(neighbour_differences(image, dilation)[1, :, x[0], x[1], x[2]], expected)


@pytest.mark.parametrize(("radius", "dilation"), [(1, 2), (2, 1)])
def test_is_what_the_loss_compares(image: Tensor, radius: int, dilation: int) -> None:
    torch.testing.assert_close(mind_ssc(image, radius, dilation), MINDSSCLoss(radius, dilation).describe(image))


def test_keeps_no_graph(image: Tensor) -> None:
    assert not mind_ssc(image.requires_grad_(), 1, 2).requires_grad


def test_compiles(image: Tensor) -> None:
    torch.testing.assert_close(torch.jit.script(mind_ssc)(image, 1, 2), mind_ssc(image, 1, 2))
