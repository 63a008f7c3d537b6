"""A fixed number of steps, and as many as help."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from morphseek_monai.inference.score import label_free_score
from morphseek_monai.inference.steps import MOST_STEPS, run_steps
from morphseek_monai.networks import MorphSeekNet

MakeNet = Callable[..., MorphSeekNet]
MakeBatch = Callable[..., dict[str, Any]]


def walker(network: MorphSeekNet, length: float, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let every step of ``network`` move by ``length`` voxels on all axes; returns the scales asked for."""
    scales: list[int] = []

    def step(moving: Tensor, fixed: Tensor, ddf: Tensor, scale: int = 1) -> Tensor:
        scales.append(scale)
        return ddf + length

    monkeypatch.setattr(network, "step", step)
    return scales


def test_as_many_steps_as_configured_are_the_network(make_net: MakeNet, make_batch: MakeBatch) -> None:
    network, pair = make_net(steps=3, scales=(2, 1)).eval(), make_batch()["image"]
    result = run_steps(network, pair, 3)
    torch.testing.assert_close(result.ddf, network(pair), rtol=0, atol=0)
    assert result.steps == len(result.scores) == 3
    assert result.scores[-1] == pytest.approx(label_free_score(pair, result.ddf).item())


def test_a_fixed_number_returns_the_last_step_even_if_an_earlier_one_scored_higher(
    make_net: MakeNet, make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = make_net(steps=2)
    walker(network, 1.0, monkeypatch)
    result = run_steps(network, make_batch(shift=2.0)["image"], 5)
    assert result.steps == 5 and result.ddf.unique() == 5.0
    assert result.scores[1] == max(result.scores) > result.scores[4]


def test_auto_goes_on_while_it_helps_and_keeps_the_best(
    make_net: MakeNet, make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = make_net(steps=2, scales=(4, 2))
    scales = walker(network, 0.5, monkeypatch)
    result = run_steps(network, make_batch(shift=2.0)["image"], "auto", least_gain=1e-4)
    assert result.steps == 4 and result.ddf.unique() == 2.0
    assert len(result.scores) == 5  # one more, to see that it does not help
    assert scales == [4, 2, 2, 2, 2]


def test_auto_goes_back_to_a_configured_step_that_was_better(
    make_net: MakeNet, make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = make_net(steps=3)
    walker(network, 1.0, monkeypatch)
    result = run_steps(network, make_batch(shift=2.0)["image"])
    assert result.steps == 2 and len(result.scores) == 4


def test_auto_stops_at_ten(make_net: MakeNet, make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    network = make_net(steps=1)
    walker(network, 0.1, monkeypatch)
    result = run_steps(network, make_batch(shift=2.0)["image"], least_gain=0.0)
    assert result.steps == len(result.scores) == MOST_STEPS == 10


def test_auto_demands_the_gain_it_was_given(
    make_net: MakeNet, make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = make_net(steps=1)
    walker(network, 0.1, monkeypatch)
    assert len(run_steps(network, make_batch(shift=2.0)["image"], least_gain=1.0).scores) == 2


@pytest.mark.parametrize("steps", [0, -1, "all", 2.5, True])
def test_bad_steps(make_net: MakeNet, steps: Any) -> None:
    with pytest.raises(ValueError, match=r"run_steps\(\) 'steps' must be 'auto' or a number of at least 1, got "):
        run_steps(make_net(), torch.rand(1, 2, 16, 16, 16), steps)


def test_one_pair_at_a_time(make_net: MakeNet) -> None:
    with pytest.raises(ValueError, match=r"run_steps\(\) 'pair' must be \(1, 2, D, H, W\)"):
        run_steps(make_net(), torch.rand(2, 2, 16, 16, 16), 1)
