"""docs/benchmarks/estimators.py on a network that has learned nothing: what is known of its estimators must show."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from morphseek_monai.engines import prepare_pairs
from morphseek_monai.networks import MorphSeekNet

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "docs" / "benchmarks"))
estimators = importlib.import_module("estimators")


@pytest.fixture
def scene(make_net: Callable[..., MorphSeekNet], make_batch: Callable[..., dict[str, Any]]) -> tuple[MorphSeekNet, Any]:
    net = make_net(seed=2, flow_std=1e-1)
    pair = prepare_pairs(make_batch()).pair(0)
    return net, estimators.Step(pair, torch.zeros(1, 3, *pair.image.shape[2:]), 1)


def test_credit_at_the_field_tells_more(
    scene: tuple[MorphSeekNet, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["latent, one reward, J = 6 (the paper's)", "field, voxel by voxel, J = 6"]
    monkeypatch.setattr(estimators, "ESTIMATORS", {name: estimators.ESTIMATORS[name] for name in names})
    lines = estimators.measure(scene[0], [scene[1]], 3, groups=4, spread=0.3)[2:]
    cells = [[float(cell) for cell in line.split("|")[2:4]] for line in lines]
    assert cells[1][0] > cells[0][0] + 0.2
    assert cells[1][1] > max(cells[0][1], 0.0) + 0.2


def test_smooth_noise_tells_more_of_one_number(
    scene: tuple[MorphSeekNet, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["field, one reward, J = 64", "field, one reward, J = 64, one dimension for 12 voxels"]
    rows = {name: estimators.ESTIMATORS[name] for name in names}
    monkeypatch.setattr(estimators, "ESTIMATORS", rows | {"left out": None})
    lines = estimators.measure(scene[0], [scene[1]], 3, groups=3, spread=0.3, only="one reward")[2:]
    white, smooth = ([float(cell) for cell in line.split("|")[2:4]] for line in lines)
    assert smooth[0] > max(white[0], 0.0) + 0.2
    assert smooth[1] > max(white[1], 0.0) + 0.2


@pytest.mark.parametrize("smooth", [False, True])
def test_draws_have_unit_size_and_opposite_signs(scene: tuple[MorphSeekNet, Any], smooth: bool) -> None:
    _, policy = estimators.observe(*scene)
    drawn = estimators.draw(
        estimators.Estimator(8, pairs=True, smooth=smooth), policy, 0.5, torch.Generator().manual_seed(0)
    )
    noise = (drawn - policy.mean) / (0.5 * policy.log_sigma.exp())
    torch.testing.assert_close(noise[:4], -noise[4:], atol=1e-4, rtol=1e-4)
    assert noise.std().item() == pytest.approx(1, rel=0.1)
