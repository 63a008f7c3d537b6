"""The KL weight follows the KL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ignite.engine import Engine
from torch import nn

from morphseek_monai.handlers import TargetKL
from morphseek_monai.losses import DiffusionLoss, WarmupLoss

FakeEngine = Callable[..., Engine]


@pytest.fixture
def loss() -> WarmupLoss:
    return WarmupLoss(nn.MSELoss(), DiffusionLoss(), kl_weight=0.01)


@pytest.mark.parametrize(
    ("kl", "factor"),
    [(5.0, 1.1), (2.6, 1.1), (2.4, 1.0), (2.0, 1.0), (1.7, 1.0), (1.5, 1 / 1.1), (0.0, 1 / 1.1), (float("nan"), 1.0)],
)
def test_weight_follows_the_kl(loss: WarmupLoss, engine: FakeEngine, kl: float, factor: float) -> None:
    handler = TargetKL(loss, target=2.0, rate=1.1, tolerance=1.25)
    buffer = loss.kl_weight
    handler(engine(output=[{"terms": {"kl": kl}}]))
    assert loss.kl_weight.item() == pytest.approx(0.01 * factor)
    assert loss.kl_weight is buffer  # what the checkpoint saves and the loss multiplies by


@pytest.mark.parametrize(("kl", "bound"), [(100.0, 0.05), (0.0, 0.002)])
def test_weight_stays_within_bounds(loss: WarmupLoss, kl: float, bound: float) -> None:
    def step(engine: Engine, batch: Any) -> list[dict[str, Any]]:
        return [{"terms": {"kl": kl}}]

    engine = Engine(step)
    TargetKL(loss, rate=1.5, bounds=(0.002, 0.05)).attach(engine)
    engine.run(range(3))
    assert 0.002 <= loss.kl_weight.item() <= 0.05
    engine.run(range(30))
    assert loss.kl_weight.item() == pytest.approx(bound)


@pytest.mark.parametrize("arguments", [{"target": 0.0}, {"rate": 1.0}, {"tolerance": 1.0}])
def test_refuses(loss: WarmupLoss, arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"TargetKL\(\) needs target > 0, rate > 1, tolerance > 1, got"):
        TargetKL(loss, **arguments)
