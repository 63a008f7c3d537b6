"""Dice of warped labels on pairs with known answers."""

from __future__ import annotations

import pytest
import torch

from morphseek_monai.metrics import RegistrationDice


def _box(start: tuple[int, int, int], edge: int = 3, value: int = 1) -> torch.Tensor:
    label = torch.zeros(1, 1, 10, 10, 10, dtype=torch.uint8)
    a, b, c = start
    label[..., a : a + edge, b : b + edge, c : c + edge] = value
    return label


def test_channel_0_is_the_moving_map_and_the_field_points_into_it() -> None:
    """The moving box lies 2 voxels further along axis 0: warped(x) = moving(x + 2)."""
    label = torch.cat([_box((5, 3, 3)), _box((3, 3, 3))], dim=1)
    ddf = torch.zeros(1, 3, 10, 10, 10)
    assert RegistrationDice(2)(ddf, label).item() == pytest.approx(1 / 3)  # 1 of 3 planes in common
    ddf[:, 0] = 2.0
    assert RegistrationDice(2)(ddf, label).item() == 1.0
    ddf[:, 0] = -2.0
    assert RegistrationDice(2)(ddf, label).item() == 0.0


def test_outside_the_image_is_background_not_the_border_label() -> None:
    label = torch.cat([_box((0, 0, 0)), _box((0, 0, 0))], dim=1)
    ddf = torch.zeros(1, 3, 10, 10, 10)
    ddf[:, 0] = -2.0  # fixed planes 2, 3, 4 show the box; planes 0 and 1 lie outside
    assert RegistrationDice(2)(ddf, label).item() == pytest.approx(1 / 3)


def test_background_does_not_count_and_absent_labels_are_nan() -> None:
    label = torch.cat([_box((3, 3, 3)), _box((3, 3, 3))], dim=1)
    values = RegistrationDice(4)(torch.zeros(1, 3, 10, 10, 10), label)
    torch.testing.assert_close(values, torch.tensor([[1.0, torch.nan, torch.nan]]), equal_nan=True)


def test_presence_is_judged_before_warping() -> None:
    """A label pushed out of the image scores 0; it does not drop out of the mean."""
    label = torch.cat([_box((3, 3, 3)), _box((3, 3, 3))], dim=1)
    assert RegistrationDice(2)(torch.full((1, 3, 10, 10, 10), 50.0), label).item() == 0.0


def test_refuses_labels_out_of_range() -> None:
    label = torch.cat([_box((3, 3, 3), value=3), _box((3, 3, 3))], dim=1)
    with pytest.raises(ValueError, match="must hold labels in 0..1, got 0..3"):
        RegistrationDice(2)(torch.zeros(1, 3, 10, 10, 10), label)
