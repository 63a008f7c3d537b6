"""The limits: what is on them, beyond them, and no number at all."""

from __future__ import annotations

import math

import pytest

from morphseek_monai.evaluation.verdict import DOUBTFUL, EXIT_CODES, FAILED, LIMITS, SUCCEEDED, judge, verdict

NAMES = sorted(LIMITS)
HIGHER = {"similarity", "gain", "overlap", "header overlap", "handedness"}


def step(name: str, value: float, better: bool) -> float:
    """The next number towards better or worse."""
    return math.nextafter(value, math.inf if (name in HIGHER) == better else -math.inf)


@pytest.mark.parametrize("name", NAMES)
def test_the_good_limit_itself_is_good_and_the_next_number_is_not(name: str) -> None:
    good = LIMITS[name].good
    assert judge(name, good).outcome == SUCCEEDED
    assert judge(name, step(name, good, better=True)).outcome == SUCCEEDED
    assert judge(name, step(name, good, better=False)).outcome == DOUBTFUL


@pytest.mark.parametrize("name", NAMES)
def test_the_bad_limit_itself_is_doubtful_and_the_next_number_has_failed(name: str) -> None:
    bad = LIMITS[name].bad
    if bad is None:  # never more than doubtful
        assert judge(name, -1e9 if name in HIGHER else 1e9).outcome == DOUBTFUL
        return
    assert judge(name, bad).outcome == DOUBTFUL
    assert judge(name, step(name, bad, better=False)).outcome == FAILED


@pytest.mark.parametrize("name", NAMES)
def test_no_number_has_failed(name: str) -> None:
    assert judge(name, math.nan).outcome == FAILED


@pytest.mark.parametrize("name", NAMES)
def test_infinity_is_on_its_side(name: str) -> None:
    best, worst = (math.inf, -math.inf) if name in HIGHER else (-math.inf, math.inf)
    assert judge(name, best).outcome == SUCCEEDED
    assert judge(name, worst).outcome == (DOUBTFUL if LIMITS[name].bad is None else FAILED)


def test_the_cure_is_told_only_where_it_is_needed() -> None:
    limits = LIMITS["folding"]
    assert judge("folding", 0.1).note == limits.meaning
    for value in (1.0, 50.0):
        assert judge("folding", value).note == f"{limits.meaning}; {limits.cure}"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("similarity", "at least 0.5, failed below 0.25"),
        ("overlap", "at least 90 %, failed below 60 %"),
        ("border", "at most 5 voxels, failed above 15 voxels"),
        ("header overlap", "at least 5 %"),
        ("handedness", "at least 0"),
    ],
)
def test_limits_in_words(name: str, words: str) -> None:
    check = judge(name, 1.0)
    assert (check.limits, check.unit) == (words, LIMITS[name].unit)


def test_a_bundle_may_demand_more_or_less() -> None:
    thresholds = {"similarity": (0.8, 0.7), "folding": (3.0, 9.0)}
    assert judge("similarity", 0.6, thresholds).outcome == FAILED
    assert judge("similarity", 0.75, thresholds).outcome == DOUBTFUL
    assert judge("folding", 2.0, thresholds).outcome == SUCCEEDED
    assert judge("folding", 2.0, thresholds).limits == "at most 3 %, failed above 9 %"
    assert judge("overlap", 95.0, thresholds).outcome == SUCCEEDED  # not named: as ever


def test_the_worst_check_is_the_verdict() -> None:
    good, doubtful, failed = (judge("folding", value) for value in (0.0, 1.0, 50.0))
    assert verdict([good, good]) == SUCCEEDED
    assert verdict([good, doubtful, good]) == DOUBTFUL
    assert verdict([failed, doubtful, good]) == verdict([good, doubtful, failed]) == FAILED


def test_exit_codes_differ_from_each_other_and_from_bad_input() -> None:
    assert EXIT_CODES == {SUCCEEDED: 0, DOUBTFUL: 3, FAILED: 1}
