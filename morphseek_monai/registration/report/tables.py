"""Tables of a report in HTML. Whatever comes from outside is escaped here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from .view import Facts

if TYPE_CHECKING:
    from morphseek_monai.evaluation.verdict import Check

SIGNS = {"succeeded": "✓", "doubtful": "?", "failed": "✗"}
STAGES = {"before": "by the headers", "affine": "after the affine", "after": "registered"}


def checks_table(checks: Sequence[Check]) -> str:
    """What the verdict was made from, one row per check."""
    rows = [
        f'<tr><th scope="row">{escape(check.name)}</th><td class="number">{number(check.value, check.unit)}</td>'
        f"<td>{escape(check.limits)}</td><td>{mark(check.outcome)}</td><td>{escape(check.note)}</td></tr>"
        for check in checks
    ]
    return _table(("Check", "Value", "Limits", "Outcome", "Note"), rows)


def metrics_table(metrics: Mapping[str, Mapping[str, float]]) -> str:
    """Metrics in rows, the stages that were measured in columns."""
    stages = [stage for stage in STAGES if stage in metrics]
    names = dict.fromkeys(name for stage in stages for name in metrics[stage])
    rows = []
    for name in names:
        cells = "".join(f'<td class="number">{number(metrics[s].get(name, math.nan))}</td>' for s in stages)
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>')
    return _table(("Metric", *(STAGES[stage] for stage in stages)), rows)


def facts_tables(facts: Facts) -> str:
    """One table of keys and values under each heading."""
    tables = []
    for heading, pairs in facts:
        rows = "".join(f'<tr><th scope="row">{escape(key)}</th><td>{escape(value)}</td></tr>' for key, value in pairs)
        tables.append(f"<section><h3>{escape(heading)}</h3><table>{rows}</table></section>")
    return f'<div class="facts">{"".join(tables)}</div>'


def mark(outcome: str) -> str:
    """An outcome told by sign, word and colour."""
    return f'<span class="mark {escape(outcome)}">{SIGNS.get(outcome, "")} {escape(outcome)}</span>'


def number(value: float, unit: str = "") -> str:
    """A value to three digits with its unit; a dash where there is none.

    Example:
        >>> number(0.123456, "mm"), number(1234.5), number(float("nan"), "mm")
        ('0.123 mm', '1234', '–')
    """
    if math.isnan(value):
        return "–"
    text = f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return f"{text} {escape(unit)}".strip()


def _table(heads: Iterable[str], rows: Sequence[str]) -> str:
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    body = "".join(rows)
    # may be wider than a phone: it scrolls, by the keyboard too
    return f'<div class="wide" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
