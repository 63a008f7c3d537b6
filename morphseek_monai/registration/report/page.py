"""`report.html`: one file with everything inside, that opens without a network."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files

from .frames import panel_figure, proportions, viewer_figure
from .panels import Panel, Panels
from .tables import SIGNS, checks_table, facts_tables, mark, metrics_table, number
from .view import ReportView

HEADLINES = {
    "succeeded": "Registration succeeded",
    "doubtful": "Registration is doubtful: look before you use it",
    "failed": "Registration failed: do not use the result",
}
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def make_page(view: ReportView, panels: Panels) -> str:
    """The whole page.

    Args:
        view: what the report is about.
        panels: its pictures.

    Returns:
        HTML without any reference to the outside; a content security policy keeps it so.
    """
    here = files(__package__)
    style = here.joinpath("page.css").read_text(encoding="utf-8") + proportions(panels)
    script = here.joinpath("viewer.js").read_text(encoding="utf-8")
    numbers = _section("Checks", checks_table(view.checks))
    if any(view.metrics.values()):
        numbers += _section("Measured", metrics_table(view.metrics))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{SIGNS[view.verdict]} {escape(view.title)}</title>
<style>
{style}</style>
</head>
<body>
<main>
<header><h1>{escape(view.title)}</h1>{_banner(view)}</header>
{_section("Compare", viewer_figure(panels))}
<div class="numbers">{numbers}</div>
{_section("Do the images match?", _figures(panels, panels.match))}
{_section("Is the deformation plausible?", _figures(panels, panels.deformation))}
{_section("The images", _figures(panels, panels.images))}
{_section("The run", facts_tables(view.facts))}
<footer>For research; not a medical device.</footer>
</main>
<script>
{script}</script>
</body>
</html>
"""


def _banner(view: ReportView) -> str:
    """The verdict by sign, words and colour, and what led to it, the gravest first."""
    reasons = [
        f"<li>{mark(check.outcome)} <b>{escape(check.name)}</b> {number(check.value, check.unit)}, wanted: "
        f"{escape(check.limits)}{'; ' + escape(check.note) if check.note else ''}</li>"
        for check in sorted(view.checks, key=lambda check: check.outcome != "failed")
        if check.outcome != "succeeded"
    ]
    if not reasons and view.checks:
        reasons = [f"<li>All {len(view.checks)} checks passed.</li>"]
    reasons += [f'<li><span class="mark note">Note</span> {escape(notice)}</li>' for notice in view.notices]
    return (
        f'<div class="banner {view.verdict}"><p><span class="sign" aria-hidden="true">{SIGNS[view.verdict]}</span> '
        f"{HEADLINES[view.verdict]}</p><ul>{''.join(reasons)}</ul></div>"
    )


def _section(heading: str, content: str) -> str:
    return f"<section><h2>{escape(heading)}</h2>{content}</section>"


def _figures(panels: Panels, chosen: Sequence[Panel]) -> str:
    return f'<div class="figures">{"".join(panel_figure(panels, panel) for panel in chosen)}</div>'
