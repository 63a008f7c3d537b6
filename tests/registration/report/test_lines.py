"""Lines over the pictures lie where the values are."""

from __future__ import annotations

import numpy as np
import pytest

from morphseek_monai.registration.report.lines import grid_lines, outlines, svg_path

ROWS, COLUMNS = 40, 60


def test_grid_of_no_displacement_is_straight_and_inside() -> None:
    lines = grid_lines(np.zeros((2, ROWS, COLUMNS)), (1.0, 1.0))
    horizontal = [line for line in lines if np.ptp(line[:, 1]) == 0]
    vertical = [line for line in lines if np.ptp(line[:, 0]) == 0]
    assert len(horizontal) + len(vertical) == len(lines)
    assert all(line[0, 0] == 0.5 and line[-1, 0] == COLUMNS - 0.5 for line in horizontal)  # voxel centres
    assert all(line[0, 1] == 0.5 and line[-1, 1] == ROWS - 0.5 for line in vertical)


def test_grid_moves_by_the_field() -> None:
    field = np.zeros((2, ROWS, COLUMNS))
    field[0], field[1] = 3.0, -2.0
    still, moved = grid_lines(np.zeros_like(field), (1.0, 1.0)), grid_lines(field, (1.0, 1.0))
    for one, other in zip(still, moved):
        np.testing.assert_allclose(other - one, np.broadcast_to([3.0, -2.0], one.shape))


def test_cells_are_square_in_millimetres() -> None:
    lines = grid_lines(np.zeros((2, 30, 120)), (1.0, 4.0))  # thick slices, 120 mm each way
    rows = [line[0, 1] * 4.0 for line in lines if np.ptp(line[:, 1]) == 0]
    columns = [line[0, 0] for line in lines if np.ptp(line[:, 0]) == 0]
    assert np.diff(rows).mean() == pytest.approx(np.diff(columns).mean(), abs=1.0)  # a voxel, as fine as it can be


def test_outline_of_a_disc() -> None:
    row, column = np.mgrid[:ROWS, :COLUMNS]
    distance = np.hypot(row - 18, column - 30)
    (line,) = outlines((20 - distance).astype(np.float32), [10.0])
    radius = np.hypot(line[:, 0] - 30.5, line[:, 1] - 18.5)  # the centre of voxel 30 lies at 30.5
    np.testing.assert_allclose(radius, 10, atol=0.15)


def test_noise_has_no_outline() -> None:
    picture = np.zeros((20, 20))
    picture[5, 5] = 1.0
    assert outlines(picture, [0.5]) == outlines(np.ones((1, 20)), [0.5]) == outlines(np.ones((9, 9)), [0.5]) == []


def test_path_has_a_start_for_every_line() -> None:
    lines = [np.array([[0.5, 0.5], [1.25, 10.0]]), np.array([[2.0, 3.0], [4.0, -1.04]])]
    assert svg_path(lines) == "M0.5 0.5L1.2 10M2 3L4 -1"
