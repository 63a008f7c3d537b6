"""An engine that has reached the state a test wants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ignite.engine import Engine

FakeEngine = Callable[..., Engine]


@pytest.fixture
def engine() -> FakeEngine:
    """``engine(epoch=3, output=...)``: an engine that does nothing, with these attributes of its state."""

    def make(**state: Any) -> Engine:
        engine = Engine(lambda engine, batch: None)
        for name, value in state.items():
            setattr(engine.state, name, value)
        return engine

    return make
