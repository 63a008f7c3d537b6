"""What all registration metrics share: batches, decollated lists, aggregation, MONAI's handlers."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor, decollate_batch
from monai.handlers import IgniteMetricHandler, MetricsSaver, from_engine
from torch import Tensor

from morphseek_monai.metrics import (
    FoldingPercent,
    RegistrationDice,
    RegistrationMetric,
    SDLogJ,
    SDLogJLearn2Reg,
)

SIZE = (6, 7, 8)


class _FirstVoxel(RegistrationMetric):
    """Row of three values per pair that the test chooses through the field."""

    def measure(self, ddf: Tensor, label: Tensor | None) -> Tensor:
        return ddf[:, :, 0, 0, 0]


def _pairs(batch: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    ddf = 0.8 * torch.randn(batch, 3, *SIZE, generator=generator)
    return ddf, torch.randint(0, 4, (batch, 2, *SIZE), generator=generator).byte()


def test_mean_over_pairs_of_the_mean_within_a_pair() -> None:
    metric = _FirstVoxel()
    ddf = torch.zeros(3, 3, *SIZE)
    ddf[:, :, 0, 0, 0] = torch.tensor([[1.0, 3.0, 5.0], [8.0, torch.nan, torch.nan], [torch.nan] * 3])
    metric(ddf[:2])
    metric(ddf[2:])
    # Pair means 3 and 8; the third pair has none. The mean over all values would be 17 / 4.
    assert metric.aggregate().item() == pytest.approx(5.5)


def test_no_value_at_all_is_nan_and_no_pair_an_error() -> None:
    metric = _FirstVoxel()
    metric(torch.full((1, 3, *SIZE), torch.nan))
    assert metric.aggregate().isnan()
    metric.reset()
    with pytest.raises(ValueError, match=r"_FirstVoxel.aggregate\(\) needs at least one pair, got none"):
        metric.aggregate()


@pytest.mark.parametrize("metric", [RegistrationDice(4), FoldingPercent(), SDLogJ(), SDLogJLearn2Reg()])
def test_decollated_lists_equal_the_batch(metric: RegistrationMetric) -> None:
    ddf, label = _pairs(3)
    metric.reset()
    rows = metric(ddf, label)
    metric(list(MetaTensor(ddf)), list(MetaTensor(label)))
    assert isinstance(rows, Tensor)
    assert rows.shape[0] == 3
    buffer = metric.get_buffer()
    assert torch.equal(buffer[:3], buffer[3:])
    assert type(buffer) is Tensor


def test_refuses_a_warped_image_in_place_of_a_field() -> None:
    with pytest.raises(
        ValueError, match=r"FoldingPercent\(\) 'y_pred' must be a field .*, got \(2, 1, 6, 7, 8\)"
    ):
        FoldingPercent()(torch.zeros(2, 1, *SIZE))


@pytest.mark.parametrize("label", [None, torch.zeros(1, 1, *SIZE, dtype=torch.uint8)])
def test_refuses_a_missing_pair(label: Tensor | None) -> None:
    with pytest.raises(ValueError, match=r"RegistrationDice\(\) 'y' must be a pair of label maps"):
        RegistrationDice(4)(torch.zeros(1, 3, *SIZE), label)


@pytest.mark.parametrize("decollate", [False, True])
def test_works_in_an_ignite_engine_with_details_saved(tmp_path: Path, decollate: bool) -> None:
    ddf, label = _pairs(4)
    label[1] = 0  # an unlabelled pair

    def step(engine: Engine, index: list[int]) -> object:
        batch = {"pred": ddf[index], "label": label[index]}
        return decollate_batch(batch) if decollate else batch

    engine = Engine(step)
    metrics = {"dice": RegistrationDice(4), "njd_percent": FoldingPercent(), "sdlogj_l2r": SDLogJLearn2Reg()}
    for name, metric in metrics.items():
        IgniteMetricHandler(metric_fn=metric, output_transform=from_engine(["pred", "label"])).attach(
            engine, name
        )
    MetricsSaver(
        save_dir=str(tmp_path), metric_details="*", batch_transform=lambda batch: [{}] * len(batch)
    ).attach(engine)
    for _ in range(2):  # the second run must forget the first
        engine.run([[0, 1, 2], [3]])

    expected = RegistrationDice(4)(ddf, label)
    assert isinstance(expected, Tensor)
    assert engine.state.metrics["dice"] == pytest.approx(expected[[0, 2, 3]].mean().item())
    torch.testing.assert_close(engine.state.metric_details["dice"], expected, equal_nan=True)
    with open(tmp_path / "dice_raw.csv") as file:
        rows = list(csv.reader(file))
    assert len(rows) == 1 + 4
    assert rows[0][1:] == ["class0", "class1", "class2", "mean"]
    assert float(rows[3][1]) == pytest.approx(expected[2, 0].item(), abs=1e-4)
    assert rows[2][1] == "nan"
    with open(tmp_path / "njd_percent_raw.csv") as file:
        assert len(list(csv.reader(file))) == 1 + 4
