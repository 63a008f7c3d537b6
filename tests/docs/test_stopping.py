"""docs/benchmarks/stopping.py on returns worked out by hand and on pairs of which the best stop is known."""

from __future__ import annotations

import importlib
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from morphseek_monai.engines import prepare_pairs
from morphseek_monai.metrics import RegistrationDice
from morphseek_monai.networks import MorphSeekNet

BENCHMARKS = Path(__file__).resolve().parents[2] / "docs" / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
stopping = importlib.import_module("stopping")

DICE = torch.tensor([[60.0, 70.0, 72.0], [80.0, 81.0, 81.5]])


def logit(*probabilities: float) -> Tensor:
    return torch.tensor(probabilities, dtype=torch.float64).logit()


def made_walks(n: int, seed: int) -> Any:
    """Pairs of which half gain 10 points in each of three steps that move far, and half nothing with small ones."""
    far = torch.arange(n) % 2 == 0
    gain = torch.where(far, 10.0, 0.0)
    dice = torch.where(far, 40.0, 70.0)[:, None] + gain[:, None] * torch.arange(1, 5).clamp(max=3)
    moving = far[:, None] & (torch.arange(1, 5) < 3)  # the third step of a far pair tells that it was the last
    noise = 1 + 0.1 * torch.rand(n, 4, 3, generator=torch.Generator().manual_seed(seed))
    moved = torch.where(moving, 2.0, 0.2)[..., None] * noise
    zero = torch.zeros(n, 4)
    return stopping.Walks(dice[:, 0] - gain, dice, moved, zero, torch.zeros(n, 4, 2), zero + 0.5, zero), far


def test_return_is_that_of_all_ways_to_stop() -> None:
    """The first pair stops with 1/4 and 1/2, the second with 1/2 and 1/5; a step costs 3."""
    logits = torch.stack([logit(0.25, 0.5, 0.9), logit(0.5, 0.2, 0.1)])
    one = 0.25 * (60 - 3) + 0.75 * 0.5 * (70 - 6) + 0.75 * 0.5 * (72 - 9)
    two = 0.5 * (80 - 3) + 0.5 * 0.2 * (81 - 6) + 0.5 * 0.8 * (81.5 - 9)
    assert stopping.expected_return(logits, DICE, 3.0).item() == pytest.approx((one + two) / 2, abs=1e-9)
    assert stopping.probability_of_each(logits).sum(1).tolist() == pytest.approx([1.0, 1.0])


@pytest.mark.parametrize("step", [0, 1])
def test_a_dearer_step_pulls_towards_stopping(step: int) -> None:
    slopes = []
    for cost in (0.0, 1.0, 20.0):
        logits = torch.zeros(2, 3, requires_grad=True)
        stopping.expected_return(logits, DICE, cost).backward()
        assert logits.grad is not None
        assert not logits.grad[:, 2].any()  # at the last step there is no choice
        slopes.append(logits.grad[0, step].item())
    assert slopes[0] < 0 < slopes[2]  # free steps are taken, dear ones are not
    assert all(a < b for a, b in itertools.pairwise(slopes))


def test_steps_taken_are_those_up_to_the_first_stop() -> None:
    stop = torch.tensor([[False, True, True, False], [False] * 4, [True, False, False, False]])
    assert stopping.steps_taken(stop).tolist() == [2, 4, 1]


def test_rules_find_the_best_stop_where_the_step_tells_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "ITERATIONS", 40)
    (train, _), (choose, _), (report, far) = (made_walks(40, seed) for seed in range(3))
    decided = stopping.decide(train, choose, report, 1.0)
    for rule in ("moved", "learned", "learned, top", "told", "hindsight"):
        assert decided[rule].tolist() == torch.where(far, 3, 1).tolist(), rule
    assert decided["best fixed"].tolist() == [3] * 40


def test_what_a_run_is_charged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "ITERATIONS", 1)
    report, _ = made_walks(40, 0)
    run = type("Run", (), {"name": "x"})
    rows = {row["rule"]: row for row in stopping.rows_of(run, report, report, report, [1.0])}
    row = rows["moved"]
    assert row["steps"] == 2.0 and row["dice"] == 70.0 and row["return"] == 68.0
    assert row["seconds"] == pytest.approx(1.0)
    assert row["spearman"] == pytest.approx(-1.0)  # far pairs start lower and take more steps
    assert rows["fixed 4"]["return"] == 66.0
    lines = stopping.table(list(rows.values())).splitlines()
    assert lines[3] == "| 1 | 60.00 | 0.50 |"
    assert "| 1.0 | moved | 70.00 | 2.00 | 1.00 | 1.00 | -1.00 |" in lines


def test_a_walk_is_the_network(
    make_net: Callable[..., MorphSeekNet], make_batch: Callable[..., dict[str, Any]]
) -> None:
    net = make_net(seed=2, steps=2, flow_std=1e-1).eval()
    pair = prepare_pairs(make_batch()).pair(0)
    seen = stopping.walk(net, pair.image, pair.label, 3, 3)
    ddf = net(pair.image).detach()
    dice = 100 * RegistrationDice(3)(ddf, pair.label).nanmean().item()
    assert seen.dice[0, 1].item() == pytest.approx(dice, abs=1e-3)
    first = net.step(pair.image[:, :1], pair.image[:, 1:], torch.zeros_like(ddf)).detach()
    length = first.square().sum(1).sqrt()
    assert seen.moved[0, 0, :2].tolist() == pytest.approx([length.mean().item(), length.square().mean().sqrt().item()])
    assert seen.dice.shape == (1, 3) and seen.top.shape[:2] == (1, 3) and bool((seen.seconds >= 0).all())


@pytest.mark.parametrize("name", ["stopping.csv", "stopping_long.csv"])
def test_the_page_shows_the_tables_of_the_results(name: str) -> None:
    page = (BENCHMARKS / "policy.md").read_text(encoding="utf-8")
    lines = stopping.table(stopping.read_rows(BENCHMARKS / "results" / name)).splitlines()
    assert len(lines) == 33
    assert [line for line in lines if line not in page] == []
