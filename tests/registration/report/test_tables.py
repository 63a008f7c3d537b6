"""Tables of the report."""

from __future__ import annotations

import math

import pytest
from jinja2 import UndefinedError

from morphseek_monai.evaluation.verdict import Check
from morphseek_monai.registration.report.page import metrics_rows, number, templates

TABLES = templates().get_template("tables.html").module


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.12345, "mm", "0.123 mm"),
        (1234.5, "", "1234"),
        (12.0, "%", "12 %"),
        (math.nan, "mm", "–"),
        (math.inf, "mm", "inf mm"),
        (1.0, "<u>", "1 <u>"),  # text: the templates escape
    ],
)
def test_numbers(value: float, unit: str, text: str) -> None:
    assert number(value, unit) == text


def test_outcome_is_told_by_word_and_sign() -> None:
    for outcome, sign in {"succeeded": "✓", "failed": "✗", "doubtful": "?"}.items():
        assert TABLES.mark(outcome) == f'<span class="mark {outcome}">{sign} {outcome}</span>'
    with pytest.raises(UndefinedError, match="has no attribute 'fine'"):
        TABLES.mark("fine")


def test_checks_in_rows() -> None:
    table = TABLES.checks_table([Check("a & b", 1.5, "<mm>", "failed", "at most 1 mm", "<i>note</i>")])
    for cell in ("a &amp; b</th>", ">1.5 &lt;mm&gt;</td>", ">at most 1 mm</td>", "✗ failed", "&lt;i&gt;note&lt;/i&gt;"):
        assert cell in table


def test_metrics_in_the_order_of_the_stages() -> None:
    stages, rows = metrics_rows({"after": {"dice": 0.8, "folded": 0.1}, "before": {"dice": 0.5}})
    table = TABLES.metrics_table(stages, rows)
    assert table.index("by the headers") < table.index("registered")
    assert "after the affine" not in table  # not measured
    assert '>dice</th><td class="number">0.5</td><td class="number">0.8</td>' in table
    assert '>folded</th><td class="number">–</td><td class="number">0.1</td>' in table


def test_facts_under_headings() -> None:
    tables = TABLES.facts_tables([("Files & folders", [("fixed", "a<b>.nii")]), ("Times", [("all", "3 s")])])
    assert "<h3>Files &amp; folders</h3>" in tables and "a&lt;b&gt;.nii" in tables and tables.count("<table>") == 2
