"""The field metrics report the right function in the right unit."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import decollate_batch
from monai.handlers import IgniteMetricHandler, from_engine
from scipy.ndimage import correlate

from morphseek_monai.metrics import FoldingPercent, RegistrationDice, SDLogJ, SDLogJLearn2Reg


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


def _official(ddf: np.ndarray, mask: np.ndarray | None) -> float:
    """Learn2Reg's formula on ``(3, X, Y, Z)``: correlation with [-.5, 0, .5], crop, +3, masked array."""
    jacobian = np.eye(3)[..., None, None, None] * np.ones(ddf.shape[1:])
    for axis in range(3):
        kernel = np.array([-0.5, 0.0, 0.5]).reshape([3 if a == axis else 1 for a in range(3)])
        for component in range(3):
            jacobian[component, axis] += correlate(ddf[component], kernel, mode="constant")
    inner = (slice(2, -2),) * 3
    log = np.log((np.linalg.det(np.moveaxis(jacobian, (0, 1), (-2, -1)))[inner] + 3).clip(1e-9, 1e9))
    return float(log.std() if mask is None else np.ma.MaskedArray(log, 1 - mask[inner]).std())


def _random_pairs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    ddf = 2 * torch.randn(3, 3, 9, 10, 11, generator=generator)
    return ddf, (torch.rand(3, 2, 9, 10, 11, generator=generator) > 0.6).byte()


@pytest.mark.parametrize("decollated", [False, True])
def test_masked_equals_the_official_masked_evaluation(decollated: bool) -> None:
    ddf, mask = _random_pairs()
    metric = SDLogJLearn2Reg(masked=True)
    values = metric(list(ddf), list(mask)) if decollated else metric(ddf, mask)
    assert isinstance(values, torch.Tensor)
    expected = [_official(d, m[1]) for d, m in zip(ddf.double().numpy(), mask.numpy())]
    np.testing.assert_allclose(values[:, 0], expected, rtol=1e-5)
    swapped = metric(ddf, mask.flip(1))  # the moving mask is another
    assert isinstance(swapped, torch.Tensor) and not torch.isclose(swapped, values).any()


def test_unmasked_equals_the_official_evaluation_and_ignores_y() -> None:
    ddf, mask = _random_pairs()
    expected = [[_official(d, None)] for d in ddf.double().numpy()]
    for y in (None, mask, 7 * mask):
        np.testing.assert_allclose(SDLogJLearn2Reg()(ddf, y), expected, rtol=1e-5)


def test_mask_within_two_voxels_of_the_border_is_undefined() -> None:
    ddf, mask = _random_pairs()
    mask[0, 1, 2:-2, 2:-2, 2:-2] = 0
    values = SDLogJLearn2Reg(masked=True)(ddf, mask)
    assert isinstance(values, torch.Tensor) and values.isnan().flatten().tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("y", "got"),
    [
        (None, "got None"),
        (torch.full((1, 2, 8, 8, 8), 3, dtype=torch.uint8), r"got \(1, 2, 8, 8, 8\) up to 3"),
        (torch.ones(1, 1, 8, 8, 8, dtype=torch.uint8), r"got \(1, 1, 8, 8, 8\) up to 1"),
    ],
)
def test_label_maps_are_not_taken_for_masks(y: torch.Tensor | None, got: str) -> None:
    with pytest.raises(ValueError, match=rf"'y' must be a pair of masks .*{got}; use PairDataset\(use_mask=True\)"):
        SDLogJLearn2Reg(masked=True)(torch.zeros(1, 3, 8, 8, 8), y)


def test_works_in_an_engine_beside_a_label_metric() -> None:
    ddf, mask = _random_pairs()
    label = 3 * torch.ones_like(mask)
    engine = Engine(lambda _, i: decollate_batch({"pred": ddf[i], "label": label[i], "mask": mask[i]}))
    for name, metric, second in (("dice", RegistrationDice(4), "label"), ("sd", SDLogJLearn2Reg(True), "mask")):
        IgniteMetricHandler(metric_fn=metric, output_transform=from_engine(["pred", second])).attach(engine, name)
    engine.run([[0, 1], [2]])
    expected = [_official(d, m[1]) for d, m in zip(ddf.double().numpy(), mask.numpy())]
    assert engine.state.metrics["sd"] == pytest.approx(np.mean(expected), rel=1e-5)
    assert engine.state.metric_details["sd"].flatten().tolist() == pytest.approx(expected, rel=1e-5)
