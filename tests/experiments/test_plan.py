from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from monai.bundle.config_parser import ConfigParser

from morphseek_monai.experiments import PlanError, read_plan

WritePlan = Callable[..., Path]
ROOT = Path(__file__).resolve().parents[2]
PLANS = sorted((ROOT / "docs" / "benchmarks" / "plans").glob("*.json"))


def test_rows_and_what_they_go_on_from(write_plan: WritePlan) -> None:
    plan = read_plan(write_plan({"c": {"from": "b"}, "d": {}, "b": {"from": "a"}, "a": {}}))
    assert list(plan.rows) == ["c", "d", "b", "a"], "the order of tables"
    assert plan.lineage("c") == ["a", "b", "c"] and plan.lineage("d") == ["d"]


def test_own_overrides_come_after_those_of_the_plan(write_plan: WritePlan) -> None:
    """Also in order: MONAI lays them over each other one by one, and a whole backbone would undo a part of it."""
    common = {"backbone#width": 1, "backbone": {"width": 0}, "lr": 1}
    plan = read_plan(write_plan({"a": {"overrides": {"backbone#width": 2}}}, overrides=common))
    assert list(plan.effective("a").items()) == [("backbone", {"width": 0}), ("lr", 1), ("backbone#width", 2)]


def test_digest_is_of_what_decides_the_result(write_plan: WritePlan) -> None:
    rows: dict[str, Any] = {"a": {"overrides": {"lr": 1}}, "b": {"from": "a", "overrides": {"lr": 2, "epochs": 3}}}

    def digests(common: Any = None, **changes: Any) -> tuple[str, str]:
        plan = read_plan(
            write_plan({name: rows[name] | changes.get(name, {}) for name in rows}, overrides=common or {})
        )
        return plan.digest("a"), plan.digest("b")

    a, b = digests()
    assert a != b
    assert digests(a={"label": "x"}, b={"label": "y", "at": {"J": 2}}) == (a, b)
    assert digests(b={"overrides": {"epochs": 3, "lr": 2}}) == (a, b)
    changed = digests(a={"overrides": {"lr": 3}})
    assert changed[0] != a and changed[1] != b, "a child depends on what its parent was"
    changed = digests(b={"overrides": {"lr": 3}})
    assert changed[0] == a and changed[1] != b
    changed = digests(common={"phase": "grpo"})
    assert changed[0] != a and changed[1] != b


@pytest.mark.parametrize(
    ("rows", "more", "message"),
    [
        ({"a": {"from": "z"}}, {}, "row a goes on from z, which is no row"),
        ({"a": {"from": "b"}, "b": {"from": "a"}}, {}, "in a circle .a <- b <- a|in a circle .b <- a <- b"),
        ({"../a": {}}, {}, "must be named by letters"),
        ({"a": {"override": {}}}, {}, r"row a must have .* unknown are \['override'\]"),
        ({"a": []}, {}, r"row a must be a JSON object, got \[\]"),
        ({"a": {}}, {"seed": 0}, r"unknown are \['seed'\]"),
        ({"a": {}}, {"seeds": [0.5]}, r"'seeds' must be a list of whole numbers, got \[0.5\]"),
        ({"a": {}}, {"seeds": []}, "'seeds' must be a list of whole numbers"),
        ({"a": {"overrides": {"epoch": 2}}}, {}, "row a overrides epoch, which .*train.json has not"),
        ({"a": {}}, {"overrides": {"epoch#x": 2}}, "row a overrides epoch#x, which .*train.json has not"),
        ({"a": {}, "b": {"from": "a", "overrides": {"init_weights": "w"}}}, {}, "init_weights, which the driver sets"),
        ({"a": {}}, {"bundle": "nowhere"}, "train.json cannot be read .*'bundle'"),
    ],
)
def test_bad_plans(rows: Any, more: Any, message: str, write_plan: WritePlan) -> None:
    with pytest.raises(PlanError, match=message):
        read_plan(write_plan(rows, **more))


def test_a_row_without_parent_may_start_from_given_weights(write_plan: WritePlan) -> None:
    plan = read_plan(write_plan({"a": {"overrides": {"init_weights": "models/model.pt"}}}))
    assert plan.effective("a") == {"init_weights": "models/model.pt"}


def test_no_json(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text("{")
    for name in ("plan.json", "missing.json"):
        with pytest.raises(PlanError, match=f"{name} cannot be read"):
            read_plan(tmp_path / name)


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_published_plans_fit_their_bundles(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every id can be laid over the bundle's config; misspelt last parts of an id remain unseen."""
    monkeypatch.chdir(ROOT)
    plan = read_plan(path)
    overlay = tmp_path / "overlay.json"
    for name in plan.rows:
        overlay.write_text(json.dumps(plan.effective(name)))
        ConfigParser.load_config_files([str(plan.bundle / "configs" / "train.json"), str(overlay)])
