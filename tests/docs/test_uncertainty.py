"""docs/benchmarks/uncertainty.py: boundaries, distances, ranks and the fit, on what can be said exactly."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from morphseek_monai.inference.expected_error import EXPONENT, FACTOR

BENCHMARKS = Path(__file__).resolve().parents[2] / "docs" / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))  # where Python puts it when the script is run
uncertainty = importlib.import_module("uncertainty")


def made(factor: float, exponent: float, count: int = 4000) -> object:
    """A pair whose errors are exponential, with a mean that follows the map by another factor and exponent."""
    generator = np.random.default_rng(0)
    share, size = generator.uniform(0.01, 1, count), 2.0
    errors = size * factor * share**exponent * generator.exponential(size=count)
    expected = size * FACTOR * share**EXPONENT
    return uncertainty.Measured(generator.uniform(0, 40, (count, 3)), np.ones(count, int), errors, expected, size)


def test_a_boundary_is_the_faces_between_labels_seen_from_each() -> None:
    label = np.zeros((5, 5, 5), int)
    label[2, 2, 2], label[3, 2, 2] = 1, 2
    points, labels = uncertainty.boundary(label)
    assert (labels == 1).sum() == 6 and (labels == 2).sum() == 6
    assert sum((points == [2.5, 2, 2]).all(1)) == 2 and np.abs(points[labels == 1] - 2).sum(1).max() == 0.5


def test_distances_are_from_the_faces_in_mm() -> None:
    mask = np.zeros((9, 9, 9), bool)
    mask[:4] = True  # its face is at 3.5
    points = np.array([[3.5, 4, 4], [5, 4, 4], [1, 4, 4]], dtype=float)
    np.testing.assert_allclose(uncertainty.distances(points, mask, (2.0, 2.0, 2.0)), [0, 3, 5], atol=1e-6)


def test_the_fit_finds_what_made_the_errors() -> None:
    assert uncertainty.coefficients([made(0.6, 0.5), made(0.6, 0.5)]) == pytest.approx((0.6, 0.5), rel=0.1)


def test_the_tables_say_what_the_map_is_worth() -> None:
    pair = made(FACTOR, 1.0)
    perfect = pair._replace(expected=pair.errors)  # type: ignore[attr-defined]
    rows = uncertainty.tables({"mine": [perfect]}).splitlines()
    cells = rows[2].split(" | ")
    assert cells[0] == "| mine" and cells[2] == "1.00" and cells[4] == "1.00" and cells[6] == cells[7].rstrip(" |")
    values = [cell.strip(" |").split(" / ") for cell in rows[6].split(" | ")[1:]]
    assert len(values) == uncertainty.BINS and all(one == other for one, other in values)
