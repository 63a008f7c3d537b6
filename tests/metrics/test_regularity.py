"""The field metrics report the right function in the right unit."""

from __future__ import annotations

import math

import pytest
import torch

from morphseek_monai.metrics import FoldingPercent, SDLogJ, SDLogJLearn2Reg


def _linear(stretch: tuple[float, float]) -> torch.Tensor:
    """``u_0 = s x_0``, so that det J = 1 + s: one ``s`` in each half of the image along axis 2."""
    ddf = torch.zeros(1, 3, 12, 12, 12)
    plane = torch.arange(12.0).view(12, 1, 1)
    ddf[:, 0, :, :, :6], ddf[:, 0, :, :, 6:] = stretch[0] * plane, stretch[1] * plane
    return ddf


def test_folding_is_a_percentage() -> None:
    values = FoldingPercent()(torch.cat([_linear((0.0, 0.0)), _linear((-3.0, -3.0)), _linear((-3.0, 0.0))]))
    assert values.shape == (3, 1)
    assert values[0] == 0.0
    assert values[1] == 100.0
    assert 40.0 <= values[2] <= 60.0


def test_sdlogj_has_no_shift_and_learn2regs_has_3() -> None:
    """Determinants 1 and 2 in equal shares: the deviation of their logarithms is half their difference."""
    ddf = _linear((0.0, 1.0))
    assert SDLogJ()(ddf).item() == pytest.approx(math.log(2) / 2, rel=0.05)
    assert SDLogJLearn2Reg()(ddf).item() == pytest.approx(math.log(5 / 4) / 2, rel=0.05)


@pytest.mark.parametrize("metric", [FoldingPercent(), SDLogJ(), SDLogJLearn2Reg()])
def test_identity_has_no_irregularity(metric: FoldingPercent) -> None:
    metric.reset()
    metric(torch.zeros(2, 3, 8, 8, 8))
    assert metric.aggregate().item() == 0.0
