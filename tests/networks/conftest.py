"""What the tests of the networks share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from morphseek_monai.fields import warp
from morphseek_monai.networks import Backbone, MorphSeekNet

LearnShift = Callable[[Backbone], list[float]]


@pytest.fixture
def learn_shift(make_batch: Callable[..., dict[str, Any]]) -> LearnShift:
    """``learn_shift(backbone)``: mean squared errors of 40 Adam steps that undo a shift by two voxels."""

    def learn(backbone: Backbone) -> list[float]:
        image = make_batch(size=16, shift=2.0)["image"]
        net = MorphSeekNet(backbone, steps=1, policy="none")
        optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
        errors = []
        for _ in range(40):
            loss = (warp(image[:, :1], net(image)) - image[:, 1:]).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            errors.append(loss.item())
        return errors

    return learn
