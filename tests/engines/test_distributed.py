"""Two processes do what one does with the same batch; ``two_phases.py`` is the program."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

Launch = Callable[..., None]
Report = dict[str, Any]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folders(launch: Launch, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of one process with batches of four pairs, and of two processes with batches of two.

    SGD, because Adam's first steps are signs of the gradient, which turn rounding into whole steps. Pair 1 of the
    second batch is NaN: with two processes, rank 1 alone meets it.
    """
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    launch(one, "--batch", "4", "--optimizer", "SGD", "--nan", "warmup:2")
    launch(two, "--batch", "2", "--optimizer", "SGD", "--nan", "warmup:2", processes=2)
    return one, two


@pytest.fixture(scope="module")
def reports(folders: tuple[Path, Path]) -> tuple[Report, Report, Report]:
    """One process; rank 0 and rank 1 of two."""
    one, two = folders
    return torch.load(one / "report0.pt"), torch.load(two / "report0.pt"), torch.load(two / "report1.pt")


def test_two_processes_train_as_one(reports: tuple[Report, Report, Report]) -> None:
    """Up to the rounding of sums taken in another order; a gradient of one process alone differs by 10 % and more."""
    one, two, _ = reports
    torch.testing.assert_close(two["state"], one["state"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(two["terms"], one["terms"], rtol=1e-3, atol=1e-5, equal_nan=True)
    assert len({terms["loss"] for terms in one["terms"]}) == 12  # 2 phases, 3 epochs, 2 iterations


def test_evaluation_is_that_of_one_process(reports: tuple[Report, Report, Report]) -> None:
    """Six pairs; each rank sees three."""
    one, two, _ = reports
    assert 0.1 < one["metrics"]["val_mean_dice"] < 0.9
    assert two["metrics"] == pytest.approx(one["metrics"], rel=1e-4)


def test_ranks_end_alike(reports: tuple[Report, Report, Report]) -> None:
    """Bit for bit: weights, moments, schedule, KL weight, best value, what is logged; they started apart."""
    _, first, second = reports
    torch.testing.assert_close(second, first, rtol=0, atol=0, equal_nan=True)


def test_nan_on_one_rank_is_skipped_on_both(reports: tuple[Report, Report, Report]) -> None:
    for report in reports:
        assert report["skipped"] == {"warmup": 1, "grpo": 0}
        assert [terms["grad_norm"] != terms["grad_norm"] for terms in report["terms"]] == [False, True] + [False] * 10


def test_rank_0_alone_writes(folders: tuple[Path, Path]) -> None:
    one, two = folders
    written = {file.name for file in (two / "rank0").iterdir()}
    assert written == {file.name for file in (one / "rank0").iterdir()}
    assert {"model.pt", "checkpoint_warmup.pt", "checkpoint_grpo.pt", "curves.csv", "provenance.json"} < written
    assert not (two / "rank1").exists()


def test_checkpoint_is_that_of_a_plain_network(folders: tuple[Path, Path]) -> None:
    one, two = (torch.load(folder / "rank0" / "model.pt") for folder in folders)
    assert one.keys() == two.keys()
