"""Of several processes rank 0 writes, and all keep the same state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine
from torch import nn

from morphseek_monai.handlers import BestCheckpoint, CurveLog, PairFigure, Provenance, RunCheckpoint

FakeEngine = Callable[..., Engine]


@pytest.fixture
def rank(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("ignite.distributed.get_rank", lambda: request.param)
    monkeypatch.setattr("ignite.distributed.get_world_size", lambda: 2)
    value: int = request.param
    return value


@pytest.mark.parametrize("rank", [0, 1], indirect=True)
def test_rank_0_writes(rank: int, engine: FakeEngine, tmp_path: Path) -> None:
    pair = {"image": torch.rand(2, 4, 4, 4), "pred": torch.zeros(3, 4, 4, 4)}
    state = engine(epoch=1, max_epochs=1, metrics={"val_mean_dice": 0.5}, output=[pair], batch=[{}])
    net = nn.Linear(1, 1)
    best = BestCheckpoint(str(tmp_path / "model.pt"), net)
    handlers: list[Callable[[Engine], None]] = [
        best,
        RunCheckpoint(str(tmp_path / "run.pt"), {"model": net}),
        CurveLog(str(tmp_path / "curves.csv"), "warmup"),
        PairFigure(str(tmp_path / "pair.png")),
        Provenance(str(tmp_path / "provenance.json"), {}),
    ]
    for handler in handlers:
        handler(state)
    written = {file.name for file in tmp_path.iterdir()}
    everything = {"model.pt", "run.pt", "curves.csv", "pair.png", "provenance.json"}
    assert written == (everything if rank == 0 else set())
    assert best.best == 0.5


@pytest.mark.parametrize("rank", [0, 1], indirect=True)
def test_rank_0_removes(rank: int, tmp_path: Path) -> None:
    """Another rank may come late, when the new run has written already."""
    (tmp_path / "run.pt").touch()
    RunCheckpoint(str(tmp_path / "run.pt"), {}).remove()
    assert (tmp_path / "run.pt").exists() == (rank == 1)


@pytest.mark.parametrize("rank", [0, 1], indirect=True)
@pytest.mark.parametrize("found", [0, 1])
def test_checkpoint_that_one_node_does_not_see(
    rank: int, found: int, engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One would go on from epoch 5 and the other from 0, and both would wait for ever."""
    monkeypatch.setattr("ignite.distributed.all_reduce", lambda own: found)
    handler = RunCheckpoint(str(tmp_path / "run.pt"), {}, resume=True)
    if not found:
        handler.restore(engine(epoch=0))
        return
    with pytest.raises(FileNotFoundError, match=r"RunCheckpoint: .*run.pt is there for 1 of 2 processes; put it where"):
        handler.restore(engine(epoch=0))
