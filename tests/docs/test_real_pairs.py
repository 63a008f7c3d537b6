"""docs/benchmarks/real.py: the listing of its pairs, the scores of label maps, the levels of greedy."""

from __future__ import annotations

import importlib
import json
import math
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "docs" / "benchmarks"))
pairs, scores, greedy = (importlib.import_module(f"scans.{name}") for name in ("pairs", "scores", "programs.greedy"))
LISTING = json.loads(pairs.LISTING.read_text(encoding="utf-8"))


def person(scan: str, name: str) -> str:
    """Who it is: scans differ in their last number, and two are listed where one person was scanned twice."""
    groups = [group for group in LISTING[name].get("same_person", []) if scan in group]
    return str(groups[0][0]) if groups else scan.rsplit("_", 1)[0]


@pytest.mark.parametrize("name", list(LISTING))
def test_nobody_is_compared_with_himself_and_no_pair_is_in_both_splits(name: str) -> None:
    both = {split: [tuple(ids) for ids in LISTING[name][split]] for split in pairs.SPLITS}
    together = both["tune"] + both["report"]
    assert len(set(together)) == len(together)
    for fixed, moving in together:
        assert fixed != moving
        assert (person(fixed, name) == person(moving, name)) == (name == "hearts")
    people = [{person(scan, name) for ids in both[split] for scan in ids} for split in pairs.SPLITS]
    assert name in ("mice", "lungs") or not people[0] & people[1]
    assert name != "mice" or all({person(scan, name) for scan in ids} - people[0] for ids in both["report"])


def test_scores_by_hand() -> None:
    fixed = np.zeros((12, 8, 8), dtype=np.uint8)
    fixed[2:6, 2:6, 2:6], fixed[8:10, 2:6, 2:6] = 1, 2
    warped = np.zeros_like(fixed)
    warped[3:7, 2:6, 2:6], warped[8:10, 2:6, 2:6] = 1, 2
    found = scores.score(fixed, warped, (2.0, 1.0, 1.0))
    assert found.dices == pytest.approx({1: 75.0, 2: 100.0})
    assert found.dice == pytest.approx(87.5) and found.inner_dice == found.dice
    assert found.hd95 == pytest.approx((2.0 + 0.0) / 2)
    assert scores.score(fixed, warped.astype(np.float32), inner=(2,)).inner_dice == pytest.approx(100)
    assert math.isnan(scores.score(fixed, warped, distances=False).hd95)


def test_a_structure_that_got_lost_counts() -> None:
    fixed = np.zeros((8, 8, 8), dtype=np.uint8)
    fixed[1:4], fixed[5:7] = 1, 2
    found = scores.score(fixed, np.where(fixed == 1, 1, 3))
    assert found.dices == pytest.approx({1: 100.0, 2: 0.0})
    assert found.dice == pytest.approx(50) and math.isinf(found.hd95)


@pytest.mark.parametrize(
    ("warped", "inner", "message"),
    [(np.ones((4, 4, 5), int), None, "on one grid"), (np.ones((4, 4, 4), int), (7,), r"structures of \(7,\).*\[1\]")],
)
def test_label_maps_that_cannot_be_compared(warped: Any, inner: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scores.score(np.ones((4, 4, 4), int), warped, inner=inner)


@pytest.mark.parametrize(
    ("size", "iterations"), [([20, 30, 40], "100x50x10"), ([192, 192, 10], "100x50"), ([5, 9, 9], "100")]
)
def test_greedy_gets_the_levels_that_it_can_do(size: list[int], iterations: str, tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros(size, dtype=np.uint8), np.eye(4)), tmp_path / "image.nii.gz")
    assert greedy.size_of(str(tmp_path / "image.nii.gz")) == size
    assert greedy.iterations(greedy.levels_of(size)) == iterations
