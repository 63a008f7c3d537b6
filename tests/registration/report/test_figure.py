"""The static picture of a report."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.collections import LineCollection

from morphseek_monai.registration.report import ReportContent
from morphseek_monai.registration.report.figure import COLUMNS, make_figure
from morphseek_monai.registration.report.panels import make_panels

MakeContent = Callable[..., ReportContent]


def test_title_says_verdict_and_reasons(make_content: MakeContent) -> None:
    content = make_content(title="$_{$ to fixed")  # no formula
    figure = make_figure(content, make_panels(content))
    assert [text.get_text() for text in figure.texts] == ["$_{$ to fixed", "DOUBTFUL: folding"]
    figure.draw_without_rendering()


def test_planes_in_rows_and_quantities_in_columns(make_content: MakeContent) -> None:
    content = make_content(affine=np.diag([1.0, 1.0, 4.0, 1.0]))
    panels = make_panels(content)
    axes = np.array(make_figure(content, panels).axes[: 3 * len(COLUMNS)]).reshape(3, -1)
    for column, (key, title) in enumerate(COLUMNS.items()):
        assert axes[0, column].get_title() == title
        for row in range(3):
            shown = axes[row, column].get_images()[0].get_array()
            np.testing.assert_array_equal(shown, panels[key].palette[panels[key].indices[row]])
    assert [ax.get_aspect() for ax in axes[:, 0]] == pytest.approx([1.0, 4.0, 4.0])


def test_grid_is_drawn_over_the_fixed_image(make_content: MakeContent) -> None:
    content = make_content()
    panels = make_panels(content)
    axes = np.array(make_figure(content, panels).axes[: 3 * len(COLUMNS)]).reshape(3, -1)
    with_lines = [[any(isinstance(c, LineCollection) for c in ax.collections) for ax in row] for row in axes]
    assert with_lines == [[key == "grid" for key in COLUMNS]] * 3
    (drawn,) = axes[1, list(COLUMNS).index("grid")].collections
    for one, other in zip(drawn.get_segments(), panels["grid"].lines[1]):
        np.testing.assert_allclose(one, other)


def test_colour_bars_have_the_numbers_of_their_panels(make_content: MakeContent) -> None:
    content = make_content()
    figure = make_figure(content, make_panels(content))
    bars = [[tick.get_text() for tick in ax.get_xticklabels()] for row in figure.axes for ax in row.child_axes]
    assert bars == [["−0.5", "0", "+0.5"], ["0", "1", "2"]]
