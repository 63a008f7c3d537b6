"""Several processes write one summary."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from morphseek_monai.base.errors import DataError
from morphseek_monai.registration.batch import summary as batch_summary
from morphseek_monai.registration.batch.summary import count_outcomes, summarise
from morphseek_monai.registration.batch.table import PairRow
from morphseek_monai.registration.options import RegisterOptions

ROWS = [PairRow(name, f"f-{name}", f"m-{name}", None, None, RegisterOptions()) for name in ("a", "b, c", "d")]


def finish(folder: Path, name: str, verdict: str = "succeeded") -> None:
    metrics = {"before": {"similarity": 0.1}, "after": {"similarity": 0.9, "njd_percent": 0.0}}
    (folder / name).mkdir()
    (folder / name / "result.json").write_text(json.dumps({"verdict": verdict, "metrics": metrics}))
    (folder / name / "pair.json").write_text(json.dumps({"seconds": 3.0, "dice": {"before": 0.5, "after": 0.625}}))


def fail(folder: Path, name: str, text: str) -> None:
    (folder / name).mkdir()
    (folder / name / "error.json").write_text(json.dumps({"error": text, "seconds": 1.5}))


def names(folder: Path) -> list[str]:
    with open(folder / "summary.csv", newline="", encoding="utf-8") as stream:
        return [line["name"] for line in csv.DictReader(stream)]


def test_lines_in_the_order_of_the_table(tmp_path: Path) -> None:
    fail(tmp_path, "d", 'says "no", twice')
    finish(tmp_path, "a")
    summarise(ROWS, tmp_path)
    assert (tmp_path / "summary.csv").read_text(encoding="utf-8").splitlines() == [
        "name,fixed,moving,verdict,similarity_before,similarity_after,njd_percent,dice_before,dice_after,seconds,error",
        "a,f-a,m-a,succeeded,0.1,0.9,0.0,0.5,0.625,3.0,",
        'd,f-d,m-d,,,,,,,1.5,"says ""no"", twice"',
    ]


def test_outcomes_are_counted(tmp_path: Path) -> None:
    finish(tmp_path, "a", "doubtful")
    fail(tmp_path, "d", "no")
    expected = {"succeeded": 0, "doubtful": 1, "failed": 0, "error": 1, "not done": 1}
    assert dict(count_outcomes(ROWS, tmp_path)) == expected


def test_who_writes_last_has_seen_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # another process finishes its pair and writes its summary after this one has looked and before it writes
    finish(tmp_path, "a")
    look = batch_summary._lines
    looks = []

    def look_late(rows: list[PairRow], folder: Path) -> list[dict[str, str]]:
        lines = look(rows, folder)
        looks.append(len(lines))
        if len(looks) == 1:
            finish(tmp_path, "d")
            (tmp_path / "summary.csv").write_text("the other's, complete")
        return lines

    monkeypatch.setattr(batch_summary, "_lines", look_late)
    summarise(ROWS, tmp_path)
    assert names(tmp_path) == ["a", "d"] and looks == [1, 2, 2]


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "summary.csv").mkdir()
    with pytest.raises(DataError, match="summary.csv cannot be written"):
        summarise(ROWS, tmp_path)
