"""Numbers of rigid maps against formulas written down by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from morphseek_monai.registration.series.motion import (
    framewise_displacement,
    motion_parameters,
    motion_record,
    motion_rows,
)

CENTRE = np.array([4.0, -7.0, 11.0])


def rigid(shift: list[float], degrees: list[float]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    matrix[:3, 3] = CENTRE + shift - matrix[:3, :3] @ CENTRE
    return matrix


def test_parameters_come_back() -> None:
    given = [1.5, -2.0, 0.25, 3.0, -4.0, 5.0]
    np.testing.assert_allclose(motion_parameters(rigid(given[:3], given[3:]), CENTRE), given, atol=1e-9)


def test_the_angles_are_of_fixed_axes_in_the_order_x_y_z() -> None:
    x, y, z = (Rotation.from_euler(axis, angle, degrees=True).as_matrix() for axis, angle in zip("xyz", (10, 20, 30)))
    matrix = np.eye(4)
    matrix[:3, :3] = z @ y @ x
    np.testing.assert_allclose(motion_parameters(matrix, np.zeros(3))[3:], [10, 20, 30], atol=1e-9)


def test_framewise_displacement_is_the_formula_of_power() -> None:
    """|dx| + |dy| + |dz| and the arcs of the three angles on a sphere of 50 mm."""
    first, second = np.zeros(6), np.array([0.3, -0.4, 0.5, 1.0, -2.0, 0.5])
    expected = 0.3 + 0.4 + 0.5 + 50 * np.pi / 180 * (1.0 + 2.0 + 0.5)
    assert framewise_displacement([first, second, second, first]) == pytest.approx([0, expected, 0, expected])
    assert framewise_displacement([first, second], radius=0) == pytest.approx([0, 1.2])


def test_an_unknown_volume_is_stepped_over() -> None:
    """The way from the last known one counts, in the place of none."""
    moved = framewise_displacement([None, np.zeros(6), None, np.array([2.0, 0, 0, 0, 0, 0])])
    np.testing.assert_equal(moved, [np.nan, 0.0, np.nan, 2.0])


def test_table_and_its_summary() -> None:
    matrices = {0: rigid([0, 0, 0], [0, 0, 0]), 2: rigid([0, 0.75, 0], [0, 0, 0])}
    rows = motion_rows(3, matrices, CENTRE, {0: 0.99, 2: 0.97}, {1: "is constant"})
    assert rows[1]["fd_mm"] == rows[1]["trans_x_mm"] == "" and rows[1]["note"] == "is constant"
    assert (rows[2]["trans_y_mm"], rows[2]["fd_mm"], rows[2]["note"]) == (0.75, 0.75, "")
    record = motion_record(rows, CENTRE)
    assert (record["fd_mean_mm"], record["fd_max_mm"], record["fd_above_0.5_mm"]) == (0.375, 0.75, [2])
    assert record["unusable"] == [1] and record["notes"] == {"1": "is constant"} and record["correlation"] == 0.98
