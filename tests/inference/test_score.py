"""The label-free score: what it rewards, what it costs, and that it takes one pair."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from morphseek_monai.fields import njd_percent
from morphseek_monai.inference.score import label_free_score

MakeBatch = Callable[..., dict[str, Any]]


def test_the_true_field_scores_higher_than_none_and_than_its_opposite(make_batch: MakeBatch) -> None:
    true = torch.full((1, 3, 16, 16, 16), 2.0)
    scores = label_free_score(make_batch(shift=2.0)["image"], torch.cat([0 * true, true, -true]))
    assert scores[1] > scores[0] > scores[2]
    assert scores[1] > 0.95


def test_folding_costs_its_weighted_share(make_batch: MakeBatch) -> None:
    pair = make_batch()["image"]
    ddf = torch.zeros(1, 3, 16, 16, 16)
    ddf[:, 0, 8:] = -4.0  # a fold, as the second half slides over the first
    folded = njd_percent(ddf) / 100
    assert folded > 0
    costs = [label_free_score(pair, ddf, folding_weight=weight) for weight in (0.0, 1.0, 5.0)]
    torch.testing.assert_close(costs[0] - costs[1], folded)
    torch.testing.assert_close(costs[0] - costs[2], 5 * folded)


def test_only_the_fixed_tissue_counts(make_batch: MakeBatch) -> None:
    """A disturbance of the moving image where the fixed one is empty, beyond the reach of tissue windows, is free."""
    pair = torch.zeros(1, 2, 40, 16, 16)
    pair[:, :, :16] = make_batch(shift=0.0)["image"]
    pair[:, :, :16][pair[:, :, :16] < 0.2] = 0.0
    disturbed = pair.clone()
    disturbed[:, 0, 30:] = torch.rand(10, 16, 16, generator=torch.Generator().manual_seed(0))
    nowhere = torch.zeros(1, 3, 40, 16, 16)
    assert label_free_score(disturbed, nowhere) == label_free_score(pair, nowhere)


@pytest.mark.parametrize("shape", [(2, 2, 8, 8, 8), (1, 1, 8, 8, 8), (2, 8, 8, 8)])
def test_refuses_what_is_not_one_pair(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"label_free_score\(\) 'pair' must be \(1, 2, D, H, W\).*one pair at a time"):
        label_free_score(torch.rand(shape), torch.zeros(1, 3, 8, 8, 8))
