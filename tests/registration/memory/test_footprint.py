"""Memory of feature maps: predicted without computing, equal to that of a real run."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from morphseek_monai.networks import MorphSeekNet
from morphseek_monai.registration.memory.footprint import UNKNOWN, LiveTensors, forward_bytes

MakeNet = Callable[..., MorphSeekNet]


def test_tensors_that_are_gone_do_not_count() -> None:
    with LiveTensors() as live:
        for _ in range(5):
            block = torch.zeros(1000)
            del block
        assert live.peak == 4000
        kept = [torch.zeros(1000) for _ in range(3)]
    assert live.peak == 12000 and len(kept) == 3


def test_views_and_changes_in_place_take_nothing() -> None:
    with LiveTensors() as live:
        block = torch.zeros(10, 100)
        block.add_(1)
        views = [block[2:5], block.t(), block.reshape(-1)]
    assert live.peak == 4000 and len(views) == 3


def test_only_what_is_made_inside_counts() -> None:
    block = torch.zeros(1000)
    with LiveTensors() as live:
        block.mul_(2)
        assert block[5:].shape == (995,)
    assert live.peak <= 4000


@pytest.mark.parametrize("kwargs", [{"steps": 1}, {"steps": 3, "scales": (2, 1)}, {"steps": 2, "policy": "none"}])
def test_prediction_equals_a_real_run(make_net: MakeNet, kwargs: dict[str, int]) -> None:
    network = make_net(**kwargs).eval()
    image = torch.rand(1, 2, 20, 22, 18)  # no multiples of the stride
    with torch.no_grad(), LiveTensors() as live:
        network(image)
    assert live.peak > 10 * image.nbytes
    assert forward_bytes(network, (20, 22, 18)) == live.peak + image.nbytes


def test_grows_with_the_grid_and_not_with_the_steps(make_net: MakeNet) -> None:
    small, large = (forward_bytes(make_net(), (n, 16, 16)) for n in (16, 64))
    assert large == pytest.approx(4 * small, rel=0.05)
    assert forward_bytes(make_net(steps=6), (16, 16, 16)) <= 1.2 * forward_bytes(make_net(steps=2), (16, 16, 16))


def test_network_stays_as_it_was(make_net: MakeNet) -> None:
    network = make_net().eval().requires_grad_(False)
    forward_bytes(network, (16, 16, 16))
    for parameter in network.parameters():
        assert parameter.device.type == "cpu" and not parameter.requires_grad and parameter.grad is None


def test_a_network_that_looks_at_values_is_taken_for_hungry(make_net: MakeNet, monkeypatch: pytest.MonkeyPatch) -> None:
    network = make_net()

    def forward(image: Tensor) -> Tensor:
        if image.max() > 1:
            raise AssertionError
        return image

    monkeypatch.setattr(MorphSeekNet, "forward", lambda self, image: forward(image))
    assert forward_bytes(network, (8, 9, 10)) == UNKNOWN * 720
