from __future__ import annotations

import csv
import json
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from morphseek_monai.experiments import Plan, read_plan
from morphseek_monai.experiments.records import Records, locked

WritePlan = Callable[..., Path]
FORK: Any = multiprocessing.get_context("fork")


@pytest.fixture
def plan(write_plan: WritePlan) -> Plan:
    return read_plan(write_plan({"a": {"label": "A", "at": {"J": 2}}, "b": {"from": "a"}}, seeds=[0, 1]))


def read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_lines_of_a_run(plan: Plan, tmp_path: Path) -> None:
    records = Records(tmp_path, plan)
    assert records.finished("a", 0) is None
    records.add("a", 0, {"dice": 0.5}, [{"fixed": "x", "dice": 0.4}, {"fixed": "y", "dice": 0.6}])
    records.add("b", 0, {"dice": 0.7, "term_reward": 0.1}, [{"fixed": "x", "dice": 0.7}])
    lines = read(tmp_path / "toy.csv")
    assert [(line["plan"], line["row"], line["from"], line["seed"], line["order"]) for line in lines] == [
        ("toy", "a", "", "0", "0"),
        ("toy", "b", "a", "0", "1"),
    ]
    assert (lines[0]["label"], json.loads(lines[0]["at"]), lines[0]["term_reward"]) == ("A", {"J": 2}, "")
    assert [line["dice"] for line in read(tmp_path / "toy_pairs.csv")] == ["0.4", "0.6", "0.7"]
    assert records.finished("b", 0) == lines[1] and records.finished("b", 1) is None


def test_a_run_replaces_its_own_lines_only(plan: Plan, tmp_path: Path) -> None:
    records = Records(tmp_path, plan)
    for seed in (0, 1):
        records.add("a", seed, {"dice": seed}, [{"dice": seed}] * 2)
    records.add("a", 0, {"dice": 5}, [{"dice": 5}])
    assert [(line["seed"], line["dice"]) for line in read(records.runs)] == [("1", "1"), ("0", "5")]
    assert [line["dice"] for line in read(records.pairs)] == ["1", "1", "5"]


def test_labels_follow_the_plan(plan: Plan, write_plan: WritePlan, tmp_path: Path) -> None:
    Records(tmp_path, plan).add("a", 0, {"dice": 0.5}, [])
    later = read_plan(write_plan({"new": {}, "a": {"label": "renamed"}}))
    Records(tmp_path, later).describe()
    (line,) = read(tmp_path / "toy.csv")
    assert (line["order"], line["label"], line["at"], line["dice"]) == ("1", "renamed", "{}", "0.5")


def _add(out: Path, plan: Plan, row: str, runs: int) -> None:
    records = Records(out, plan)
    for seed in range(runs):
        records.add(row, seed, {"dice": seed, f"term_{row}": seed}, [{"dice": seed}] * 3)


def test_processes_do_not_lose_each_others_lines(plan: Plan, tmp_path: Path) -> None:
    writers = [FORK.Process(target=_add, args=(tmp_path, plan, row, 25)) for row in ("a", "b")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    lines = read(tmp_path / "toy.csv")
    assert sorted((line["row"], int(line["seed"])) for line in lines) == [(row, i) for row in "ab" for i in range(25)]
    assert all(line[f"term_{line['row']}"] == line["dice"] == line["seed"] for line in lines)
    assert len(read(tmp_path / "toy_pairs.csv")) == 2 * 25 * 3


def _try(path: Path, queue: Any) -> None:
    with locked(path, wait=False) as held:
        queue.put(held)


def test_lock_is_of_one_process_and_of_no_dead_one(tmp_path: Path) -> None:
    queue = FORK.Queue()

    def another() -> bool:
        process = FORK.Process(target=_try, args=(tmp_path / "lock", queue))
        process.start()
        process.join()
        return bool(queue.get(timeout=10))

    with locked(tmp_path / "lock", wait=False) as held:
        # forked while the lock is held, it inherits the descriptor, which must not prolong the lock
        sleeper = FORK.Process(target=__import__("time").sleep, args=(60,))
        sleeper.start()
        assert held and not another()
    assert another() and another(), "released, and released again by the end of the process"
    sleeper.kill()
    sleeper.join()
