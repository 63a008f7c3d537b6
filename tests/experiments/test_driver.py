"""The order of things, with a training that only notes that it took place."""

from __future__ import annotations

import csv
import json
import logging
import multiprocessing
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from morphseek_monai.experiments import PlanError, driver, read_plan, run
from morphseek_monai.experiments.driver import Driver
from morphseek_monai.experiments.results import Folder

WritePlan = Callable[..., Path]
FAMILY: dict[str, Any] = {
    "child": {"from": "parent"},
    "parent": {},
    "grandchild": {"from": "child"},
    "stranger": {},
}


def train(bundle: Path, folder: Folder, threads: int | None) -> None:
    """What ``train_and_evaluate`` leaves, in no time; fails where ``lr`` is "fail"."""
    overlay = json.loads(folder.overlay.read_text())
    row, start = overlay["experiment"]["row"], overlay.get("init_weights")
    with open(folder.path.parents[2] / "trained.txt", "a") as file:
        file.write(f"{row}{overlay['seed']}\n")
    folder.log.write_text(f"log of {row}\nthe cause\n")
    if overlay.get("lr") == "fail" or (start and not Path(start).is_file()):
        sys.exit(1)
    time.sleep(0.05)
    folder.models.mkdir(exist_ok=True)
    (folder.models / "checkpoint_grpo.pt").write_text(row)
    line = {"iterations": 10, "train_seconds": 1.0, "dice": 0.5, "njd_percent": 0.1, "threads": threads}
    folder.result.write_text(json.dumps({"run": line, "pairs": [{"fixed": "x", "dice": 0.5}]}))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "train_and_evaluate", train)
    monkeypatch.setattr(driver, "POLL_SECONDS", 0.05)


def trained(tmp_path: Path) -> list[str]:
    path = tmp_path / "out" / "trained.txt"
    return path.read_text().split() if path.is_file() else []


def lines(tmp_path: Path) -> dict[str, dict[str, str]]:
    with open(tmp_path / "out" / "toy.csv", newline="") as file:
        return {line["row"] + line["seed"]: line for line in csv.DictReader(file)}


@pytest.fixture
def go(tmp_path: Path, write_plan: WritePlan) -> Callable[..., int]:
    """``go(content, **options)``: exit code of the command on a plan of such rows."""

    def go(content: Any, plan: dict[str, Any] | None = None, **options: Any) -> int:
        try:
            run(str(write_plan(content, **(plan or {}))), str(tmp_path / "data"), str(tmp_path / "out"), **options)
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    return go


def test_parents_before_children(go: Callable[..., int], tmp_path: Path) -> None:
    assert go(FAMILY, {"seeds": [0, 1]}) == 0
    assert trained(tmp_path) == [row + seed for seed in "01" for row in ("parent", "child", "grandchild", "stranger")]
    assert len(lines(tmp_path)) == 8


@pytest.mark.parametrize("jobs", [2, 5])
def test_parents_before_children_with_several_jobs(jobs: int, go: Callable[..., int], tmp_path: Path) -> None:
    """The training fails where its parent has left no weights."""
    assert go(FAMILY, {"seeds": [0, 1, 2]}, jobs=jobs) == 0
    assert sorted(trained(tmp_path)) == sorted(row + seed for seed in "012" for row in FAMILY)
    assert {line["threads"] for line in lines(tmp_path).values()} == {"1"}


def test_rows_bring_what_they_go_on_from(go: Callable[..., int], tmp_path: Path) -> None:
    assert go(FAMILY, {"seeds": [0, 7]}, rows="child", seeds=7) == 0
    assert trained(tmp_path) == ["parent7", "child7"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": ("child", "aunt")}, "--rows must be some of .*, got aunt"),
        ({"seeds": "1"}, "--seeds must be some of 0, got 1"),
        ({"jobs": 0}, "--jobs must be at least 1"),
        ({"redo": "false"}, "--redo True or False, got 1 and 'false'"),
    ],
)
def test_bad_options(options: Any, message: str, go: Callable[..., int]) -> None:
    with pytest.raises(PlanError, match=message):
        go(FAMILY, **options)


def test_finished_runs_are_skipped(go: Callable[..., int], tmp_path: Path) -> None:
    assert go(FAMILY, rows="child") == 0
    before = lines(tmp_path)
    assert go(FAMILY) == 0
    assert trained(tmp_path) == ["parent0", "child0", "grandchild0", "stranger0"]
    assert {key: line for key, line in lines(tmp_path).items() if key in before} == before
    assert go(FAMILY) == 0 and len(trained(tmp_path)) == 4


def test_a_run_without_its_line_is_finished_again(go: Callable[..., int], tmp_path: Path) -> None:
    """Killed between the end of a training and its entry, what it left is used."""
    assert go(FAMILY, rows="parent") == 0
    (tmp_path / "out" / "toy.csv").unlink()
    assert go(FAMILY, rows="parent") == 0
    assert trained(tmp_path) == ["parent0"] * 2 and list(lines(tmp_path)) == ["parent0"]


def test_failure_stops_descendants_only(
    go: Callable[..., int], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = FAMILY | {"child": {"from": "parent", "overrides": {"lr": "fail"}}}
    assert go(broken) == 1
    assert trained(tmp_path) == ["parent0", "child0", "stranger0"]
    assert sorted(lines(tmp_path)) == ["parent0", "stranger0"]
    assert "child seed 0: ended with code 1" in caplog.text and "    log of child\n    the cause" in caplog.text
    assert "grandchild seed 0: not run, for there is no child to go on from" in caplog.text
    assert go(FAMILY) == 0, "a failed run with other overrides is nothing to protect"
    assert trained(tmp_path)[3:] == ["child0", "grandchild0"]


def test_changed_overrides_are_refused_or_redone(
    go: Callable[..., int], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert go(FAMILY) == 0
    before = lines(tmp_path)
    changed = FAMILY | {"child": {"from": "parent", "overrides": {"lr": 2}}}
    assert go(changed) == 1
    assert len(trained(tmp_path)) == 4 and lines(tmp_path) == before
    assert "child seed 0: not run, for it is finished with other overrides" in caplog.text
    marker = tmp_path / "out" / "toy" / "child" / "seed0" / "old"
    marker.touch()
    assert go(changed, redo=True) == 0
    assert trained(tmp_path)[4:] == ["child0", "grandchild0"], "what goes on from it too"
    assert not marker.exists(), "nothing of the other experiment may be resumed"
    after = lines(tmp_path)
    assert {key for key in before if after[key]["hash"] != before[key]["hash"]} == {"child0", "grandchild0"}
    assert len(after) == 4


def test_unfinished_run_is_resumed_unless_its_overrides_have_changed(go: Callable[..., int], tmp_path: Path) -> None:
    broken = {"a": {"overrides": {"lr": "fail"}}}
    assert go(broken) == 1
    marker = tmp_path / "out" / "toy" / "a" / "seed0" / "old"
    marker.touch()
    assert go(broken | {"b": {}}) == 1 and marker.exists()
    assert go({"a": {}}) == 0 and not marker.exists()


def test_changed_bundle_is_told(go: Callable[..., int], bundle: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "morphseek_monai.experiments")
    go({"a": {}})
    go({"a": {}})
    assert "a seed 0: finished earlier" in caplog.text and "configs have changed" not in caplog.text
    (bundle / "configs" / "evaluate.json").write_text('{"x": 1}')
    assert go({"a": {}}) == 0
    assert "a seed 0: finished earlier; the bundle's configs have changed since" in caplog.text


def test_overlay(write_plan: WritePlan, tmp_path: Path) -> None:
    plan = read_plan(
        write_plan({"b": {"from": "a", "overrides": {"lr": 2}}, "a": {}}, overrides={"epochs": 3, "lr": 1})
    )
    made = Driver(plan, tmp_path / "data", tmp_path / "out")
    folder = tmp_path / "out" / "toy" / "b" / "seed4"
    weights = tmp_path / "out" / "toy" / "a" / "seed4" / "models" / "checkpoint_warmup.pt"
    assert made.overlay("b", 4) == {
        "epochs": 3,
        "lr": 2,
        "init_weights": str(weights),
        "seed": 4,
        "dataset_dir": str(tmp_path / "data"),
        "ckpt_dir": str(folder / "models"),
        "output_dir": str(folder / "eval"),
        "experiment": {"plan": "toy", "row": "b", "hash": plan.digest("b")},
    }
    weights.parent.mkdir(parents=True)
    weights.with_name("checkpoint_grpo.pt").touch()
    assert made.overlay("b", 4)["init_weights"] == str(weights.with_name("checkpoint_grpo.pt"))
    assert "init_weights" not in made.overlay("a", 4)


def _drive(path: Path, out: Path, rows: list[str], seeds: list[int]) -> None:
    sys.exit(len(Driver(read_plan(path), out, out, jobs=2).run(rows, seeds)))


def test_two_drivers_train_everything_once(write_plan: WritePlan, tmp_path: Path) -> None:
    """Both need the parent; one trains it, the other waits."""
    path, seeds = write_plan(FAMILY, seeds=[0, 1, 2]), [0, 1, 2]
    fork: Any = multiprocessing.get_context("fork")
    rows = (["child", "stranger"], ["grandchild"])
    drivers = [fork.Process(target=_drive, args=(path, tmp_path / "out", own, seeds)) for own in rows]
    for process in drivers:
        process.start()
    for process in drivers:
        process.join()
    assert [process.exitcode for process in drivers] == [0, 0]
    assert sorted(trained(tmp_path)) == sorted(row + seed for seed in "012" for row in FAMILY)
    assert sorted(lines(tmp_path)) == sorted(row + seed for seed in "012" for row in FAMILY)
