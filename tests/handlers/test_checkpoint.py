"""Checkpoints: what is written when, what survives a crash, and one-line errors for what cannot be loaded."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events
from torch import nn

from morphseek_monai.base.errors import DataError
from morphseek_monai.handlers import BestCheckpoint, RunCheckpoint, StrictCheckpointLoader, load_weights
from morphseek_monai.handlers.checkpoint import save_atomically

FakeEngine = Callable[..., Engine]


def layer(value: float = 0.0, features: int = 3) -> nn.Linear:
    net = nn.Linear(features, 2)
    for p in net.parameters():
        nn.init.constant_(p, value)
    return net


def value_of(net: nn.Module) -> float:
    values = torch.cat([p.flatten() for p in net.parameters()]).unique()
    assert len(values) == 1
    return values.item()


class HasCode:
    """Something that unpickling would have to execute."""

    def __reduce__(self) -> Any:
        return os.system, ("exit 1",)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "models" / "model.pt"


def one_line(error: pytest.ExceptionInfo[ValueError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("wrap", [lambda state: state, lambda state: {"model": state, "epoch": 3}])
def test_weights_load_bare_and_nested(wrap: Callable[[Any], Any], path: Path) -> None:
    save_atomically(wrap(layer(4.0).state_dict()), path)
    net = layer()
    load_weights(path, net)
    assert value_of(net) == 4.0


def test_no_weights(path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"load_weights\(\) 'path' .*model.pt does not exist; train first"):
        load_weights(path, layer())


@pytest.mark.parametrize(
    ("state", "difference"),
    [
        (layer(features=4).state_dict(), r"1 tensors differ, first weight: file \(2, 4\), network \(2, 3\)"),
        ({"weight": torch.zeros(2, 3)}, r"1 tensors differ, first bias: file None, network \(2,\)"),
        (layer().state_dict() | {"more": torch.zeros(1)}, r"1 tensors differ, first more: file \(1,\), network None"),
        ({}, "2 tensors differ"),
    ],
)
def test_weights_of_another_architecture(state: Any, difference: str, path: Path) -> None:
    save_atomically(state, path)
    net = layer(1.0)
    message = rf"model.pt is a checkpoint of another architecture than Linear: {difference}.*; use the 'network_def'"
    with pytest.raises(ValueError, match=message) as error:
        load_weights(path, net)
    one_line(error)
    assert value_of(net) == 1.0


@pytest.mark.parametrize("content", [torch.zeros(3), [1, 2], 3.0, {"model": torch.zeros(3)}])
def test_file_without_a_state_dictionary(content: Any, path: Path) -> None:
    save_atomically(content, path)
    with pytest.raises(ValueError, match=r"model.pt .*must hold a state dictionary.*; ") as error:
        load_weights(path, layer())
    one_line(error)


def test_truncated_file(path: Path) -> None:
    save_atomically(layer().state_dict(), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"model.pt is not a readable checkpoint of tensors \(.+\); write it") as error:
        load_weights(path, layer())
    one_line(error)


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\n", HasCode(), layer()])
def test_other_files_and_pickled_objects_are_refused(content: Any, path: Path) -> None:
    save_atomically(content, path)
    if isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(ValueError, match="is not a readable checkpoint of tensors") as error:
        load_weights(path, layer())
    one_line(error)


def test_loader_loads_when_the_engine_starts(path: Path) -> None:
    save_atomically(layer(4.0).state_dict(), path)
    net, seen = layer(), []
    engine = Engine(lambda engine, batch: seen.append(value_of(net)))
    StrictCheckpointLoader(str(path), net).attach(engine)
    assert value_of(net) == 0.0
    engine.run([0])
    assert seen == [4.0]


def test_crash_while_writing_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_atomically(layer(1.0).state_dict(), path)

    def crash(state: Any, file: Any) -> None:
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", crash)
    with pytest.raises(DataError, match=r"model.pt cannot be written \(OSError\); give a writable"):
        save_atomically(layer(2.0).state_dict(), path)
    monkeypatch.undo()
    net = layer()
    load_weights(path, net)
    assert value_of(net) == 1.0
    save_atomically(layer(3.0).state_dict(), path)
    assert [file.name for file in path.parent.iterdir()] == ["model.pt"]


def test_a_disk_that_fills_up_is_told_in_a_line_and_the_old_file_stays(
    full_disk: Callable[[int], AbstractContextManager[None]], path: Path
) -> None:
    """PyTorch's own words are of an unexpected position."""
    run = RunCheckpoint(str(path), {"model": layer(1.0, features=20_000)})
    engine = start(run)
    size, saved = path.stat().st_size, path.read_bytes()
    for limit in (100, size // 2, size - 1):
        with full_disk(limit), pytest.raises(DataError, match=r"model.pt cannot be written \(File too large\); give a"):
            run(engine)
        assert [file.name for file in path.parent.iterdir()] == ["model.pt"]
        assert path.read_bytes() == saved


def test_best_is_saved_on_improvement_only(engine: FakeEngine, path: Path) -> None:
    net, saved = layer(), layer()
    best = BestCheckpoint(str(path), net, metric="dice")
    epochs = ((0.5, 0), (0.4, 0), (float("nan"), 0), (0.5, 0), (0.6, 4), (0.55, 4))  # Dice, and which epoch is kept
    for epoch, (dice, kept) in enumerate(epochs):
        net.load_state_dict(layer(epoch).state_dict())
        best(engine(metrics={"dice": torch.tensor(dice)}))
        load_weights(path, saved)
        assert value_of(saved) == kept
    assert best.state_dict() == {"best": pytest.approx(0.6)}


def test_without_labels_the_latest_is_saved(engine: FakeEngine, path: Path) -> None:
    """Dice is NaN where no pair has labels, and a warm-up needs none."""
    net, saved = layer(), layer()
    best = BestCheckpoint(str(path), net, metric="dice")
    for epoch, (dice, kept) in enumerate(((float("nan"), 0), (float("nan"), 1), (0.2, 2), (float("nan"), 2))):
        net.load_state_dict(layer(epoch).state_dict())
        best(engine(metrics={"dice": dice}))
        load_weights(path, saved)
        assert value_of(saved) == kept


def test_best_is_remembered(engine: FakeEngine, path: Path) -> None:
    first, second = (BestCheckpoint(str(path), layer(1.0), metric="dice") for _ in range(2))
    first(engine(metrics={"dice": 0.7}))
    path.unlink()
    second.load_state_dict(first.state_dict())
    second(engine(metrics={"dice": 0.65}))
    assert not path.exists()


def test_best_is_attached_to_the_end_of_an_evaluation(path: Path) -> None:
    engine = Engine(lambda engine, batch: engine.state.metrics.update(dice=0.1))
    BestCheckpoint(str(path), layer(), metric="dice").attach(engine)
    engine.run([0])
    assert path.exists()


@pytest.mark.parametrize(("interval", "expected"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (9, [5])])
def test_run_is_saved_at_intervals_and_at_the_end(interval: int, expected: list[int], path: Path) -> None:
    saved = []
    engine = Engine(lambda engine, batch: None)
    RunCheckpoint(str(path), {"model": layer()}, interval=interval).attach(engine)

    def look(engine: Engine) -> None:
        if path.exists():
            saved.append(torch.load(path)["trainer"])
            path.unlink()

    engine.add_event_handler(Events.EPOCH_COMPLETED, look)
    engine.run([0, 0, 0], max_epochs=5)
    assert saved == [{"epoch": epoch, "iteration": 3 * epoch} for epoch in expected]


def start(handler: RunCheckpoint, data: tuple[int, ...] = (0,)) -> Engine:
    """Attach to an engine of one epoch, and run it."""
    engine = Engine(lambda engine, batch: None)
    handler.attach(engine)
    engine.run(data, max_epochs=1)
    return engine


def test_run_is_restored_when_it_starts(path: Path) -> None:
    start(RunCheckpoint(str(path), {"model": layer(4.0)}), data=(0, 0, 0))
    net = layer()
    engine = Engine(lambda engine, batch: pytest.fail("a finished run has no iteration left"))
    RunCheckpoint(str(path), {"model": net}, resume=True).attach(engine)
    assert value_of(net) == 0.0  # whoever shares the network may still change it
    engine.run([0, 0, 0], max_epochs=1)
    assert (value_of(net), engine.state.epoch, engine.state.iteration) == (4.0, 1, 3)


def test_run_without_resume_does_not_read(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"half a file")
    assert start(RunCheckpoint(str(path), {"model": layer()})).state.iteration == 1
    assert torch.load(path)["trainer"] == {"epoch": 1, "iteration": 1}


@pytest.mark.parametrize("resume", [True, False])
def test_run_that_starts_anew_leaves_nothing_to_resume(resume: bool, path: Path) -> None:
    """Killed in its first epoch, it would be resumed from an earlier run, and so would the phases after it."""
    follower = path.with_name("follower.pt")
    for file in (path, follower):
        start(RunCheckpoint(str(file), {"model": layer(4.0)}))
    engine = Engine(lambda engine, batch: None)
    RunCheckpoint(str(path), {"model": layer()}, resume=resume, followers=[str(follower)]).attach(engine)
    assert path.exists()
    engine.add_event_handler(Events.STARTED, engine.terminate)
    engine.run([0], max_epochs=2)
    assert (path.exists(), follower.exists()) == (resume, resume)


def test_run_of_other_objects(path: Path) -> None:
    start(RunCheckpoint(str(path), {"model": layer()}))
    other = RunCheckpoint(str(path), {"model": layer(), "loss": layer()}, resume=True)
    message = r"RunCheckpoint: .*model.pt must hold \['loss', 'model', 'trainer'\], it holds \['model', 'trainer'\]; "
    with pytest.raises(ValueError, match=message) as error:
        start(other)
    one_line(error)
    save_atomically(torch.zeros(1), path)
    with pytest.raises(ValueError, match="it holds Tensor; delete it or set resume=False"):
        start(other)


def test_resume_as_text_is_refused(path: Path) -> None:
    with pytest.raises(TypeError, match=r"RunCheckpoint\(\) 'resume' must be True or False, got 'false'; write"):
        RunCheckpoint(str(path), {}, resume="false")  # type: ignore[arg-type]


def test_run_of_another_architecture(path: Path) -> None:
    start(RunCheckpoint(str(path), {"model": layer()}))
    with pytest.raises(ValueError, match="checkpoint of another architecture than Linear") as error:
        start(RunCheckpoint(str(path), {"model": layer(features=4)}, resume=True))
    one_line(error)
