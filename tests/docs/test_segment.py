"""docs/benchmarks/segment.py: its vote, its listing, and that the page shows its table."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

BENCHMARKS = Path(__file__).resolve().parents[2] / "docs" / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))  # where Python puts it when the script is run
segment = importlib.import_module("segment")


def test_the_vote_is_that_of_simpleitk() -> None:
    labels = np.random.default_rng(0).integers(0, 3, (5, 8, 9, 10)).astype(np.uint8)
    judge = sitk.GetArrayFromImage(sitk.LabelVoting([sitk.GetImageFromArray(one) for one in labels], 9))
    np.testing.assert_array_equal(segment.nearest_majority(list(labels))[judge < 9], judge[judge < 9])


def test_nobody_is_scan_and_atlas_or_in_both_splits() -> None:
    twice = {1025: 1005, 1038: 1018}  # one person each
    for entry in json.loads((BENCHMARKS / "segment.json").read_text()).values():
        people = [twice.get(n, n) for split in ("tune", "report") for n in sum(entry.get(split, {}).values(), [])]
        assert len(people) == len(set(people)) >= 6


def test_the_page_shows_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    segment.table(str(BENCHMARKS / "segment.csv"))
    printed = capsys.readouterr().out
    page = (BENCHMARKS / "segment.md").read_text(encoding="utf-8")
    assert printed.count("\n") == 6 and f"<!-- table -->\n{printed}<!-- end -->" in page
