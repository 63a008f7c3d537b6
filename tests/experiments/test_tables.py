"""Figures against those computed by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from morphseek_monai.experiments import PlanError, grid, table

WriteRuns = Callable[..., Path]

# in the file in another order than in the plan
RUNS: list[dict[str, Any]] = [
    {"order": 2, "row": "grpo", "label": "+ GRPO", "seed": 0, "dice": 0.70, "njd_percent": 0.01, "train_seconds": 20},
    {"order": 0, "row": "start", "label": "warm-up", "seed": 0, "dice": 0.60, "njd_percent": 0.5},
    {"order": 1, "row": "soft", "label": "+ soft Dice", "seed": 1, "dice": 0.64, "njd_percent": 0.04},
    {"order": 1, "row": "soft", "label": "+ soft Dice", "seed": 0, "dice": 0.66, "njd_percent": 0.02},
    {"order": 2, "row": "grpo", "label": "+ GRPO", "seed": 1, "dice": 0.71, "njd_percent": 0.03, "train_seconds": 40},
    {"order": 2, "row": "grpo", "label": "+ GRPO", "seed": 2, "dice": 0.72, "njd_percent": 0.02, "train_seconds": 30},
]


def cells(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]


def test_table(write_runs: WriteRuns) -> None:
    head, rule, *body = cells(table(str(write_runs(RUNS))))
    assert head == ["row", "seeds", "Dice (%)", "NJD (%)", "HD95 (voxels)", "SDlogJ", "s / iteration"]
    assert set(rule) == {"---"} and len(rule) == len(head)
    assert body == [
        ["warm-up", "1", "60.00", "0.500", "2.00", "0.100", "0.50"],
        ["+ soft Dice", "2", "65.00 ± 1.41", "0.030 ± 0.014", "2.00 ± 0.00", "0.100 ± 0.000", "0.50 ± 0.00"],
        ["+ GRPO", "3", "71.00 ± 1.00", "0.020 ± 0.010", "2.00 ± 0.00", "0.100 ± 0.000", "3.00 ± 1.00"],
    ]


def test_differences_are_paired_by_seed(write_runs: WriteRuns) -> None:
    """Of seeds 0 and 1, which both rows have: 4 and 7, not 71 - 65 = 6."""
    head, _, *body = cells(table(str(write_runs(RUNS)), against="soft"))
    assert head[-2:] == ["Dice (%) against + soft Dice", "NJD (%) against + soft Dice"]
    assert [line[-2:] for line in body] == [
        ["-6.00", "+0.480"],
        ["-", "-"],
        ["+5.50 ± 2.12", "-0.010 ± 0.000"],
    ]


def test_no_common_seed(write_runs: WriteRuns) -> None:
    runs = write_runs([{"row": "a", "seed": 0}, {"row": "b", "seed": 1, "order": 1}])
    assert cells(table(str(runs), against="a"))[-1][-2:] == ["-", "-"]


def test_table_is_written_too(write_runs: WriteRuns, tmp_path: Path) -> None:
    text = table(str(write_runs(RUNS)), out=str(tmp_path / "table.md"))
    assert (tmp_path / "table.md").read_text() == text + "\n"


def test_grid(write_runs: WriteRuns) -> None:
    at = {"a": '{"J": 10, "T": 1}', "b": '{"J": 2, "T": 1}', "c": '{"J": 2, "T": 3}', "d": '{"J": 4}'}
    runs = [{"row": row, "at": at[row], "dice": 0.6, "njd_percent": 0.1} for row in at]
    runs += [{"row": "c", "at": at["c"], "seed": 1, "dice": 0.7, "njd_percent": 0.2}]
    assert cells(grid(str(write_runs(runs)), rows="J", columns="T")) == [
        ["J \\ T", "1", "3"],
        ["---"] * 3,
        ["2", "60.00 / 0.100", "65.00 / 0.150"],
        ["10", "60.00 / 0.100", "-"],
    ]


@pytest.mark.parametrize(
    ("at", "message"),
    [
        (["{}", '{"J": 1}'], "no row of .*plan.csv is at J and T"),
        (['{"J": 1, "T": 2}', '{"J": 1, "T": 2, "s": 3}'], r"rows row0 and row1 are both at \(1, 2\)"),
    ],
)
def test_grid_without_or_with_two_rows_in_a_cell(at: list[str], message: str, write_runs: WriteRuns) -> None:
    runs = write_runs([{"row": f"row{i}", "at": place} for i, place in enumerate(at)])
    with pytest.raises(PlanError, match=message):
        grid(str(runs), rows="J", columns="T")


def test_nothing_to_tabulate(write_runs: WriteRuns, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="nothing.csv has no finished run"):
        table(str(tmp_path / "nothing.csv"))
    with pytest.raises(PlanError, match="--against must be one of start,soft,grpo, got none"):
        table(str(write_runs(RUNS)), against="none")
