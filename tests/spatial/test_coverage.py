"""How much of a grid a field leaves uncovered, by counting."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from morphseek_monai.space.grid import Grid
from morphseek_monai.spatial.coverage import uncovered
from morphseek_monai.spatial.point_map import Field, PointMap
from morphseek_monai.spatial.transform import composite

SHIFT = np.array([[1.0, 0, 0, 5], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
SMALL = Field(torch.zeros(1, 3, 10, 10, 10), Grid((10, 10, 10), np.eye(4)))
GRID = Grid((20, 10, 10), np.eye(4))


@pytest.mark.parametrize(
    ("maps", "share"),
    [
        ((), 0.0),
        ((SHIFT,), 0.0),
        ((SMALL,), 0.5),
        ((SMALL, SHIFT), 0.5),
        ((SHIFT, SMALL), 0.75),  # only the first five planes come to lie on it
        ((SHIFT @ SHIFT @ SHIFT, SMALL), 1.0),
    ],
)
def test_the_share(maps: tuple, share: float) -> None:  # type: ignore[type-arg]
    assert uncovered(PointMap(maps), GRID) == pytest.approx(share)
    assert uncovered(composite(PointMap(maps)), GRID) == pytest.approx(share)


def test_half_a_voxel_beyond_the_outer_centres_counts_as_covered() -> None:
    large = Grid((200, 100, 100), np.diag([0.1, 0.1, 0.1, 1.0]))
    covered = 95 / 200 * 95 / 100 * 95 / 100  # below 9.5 mm
    assert uncovered(PointMap((SMALL,)), large) == pytest.approx(1 - covered, abs=0.02)
