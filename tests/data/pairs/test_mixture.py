"""Several data sets as one."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from morphseek_monai.data import DataError, JoinedPairs, MixedPairs, PairDataset, ShapePairs, check_disjoint


def subjects(name: str, count: int = 3) -> list[dict[str, Any]]:
    return [{"image": torch.rand(1, 6, 6, 6), "id": f"{name}{i}"} for i in range(count)]


def pairs(name: str, **options: Any) -> PairDataset:
    return PairDataset(subjects(name), mode="random", length=200, **options)


def first_letters(dataset: MixedPairs) -> str:
    return "".join(dataset[i]["fixed_id"][0] for i in range(len(dataset)))


def test_weights_are_shares() -> None:
    drawn = first_letters(MixedPairs({"a": pairs("a"), "b": pairs("b")}, {"a": 1, "b": 4}))
    assert len(drawn) == 200 and 140 < drawn.count("b") < 180


def test_what_is_missing_leaves_its_share() -> None:
    weights = {"a": 1, "b": 8, "c": 1, "d": 9}
    drawn = first_letters(MixedPairs({"a": pairs("a"), "b": None, "c": pairs("c")}, weights))
    assert 70 < drawn.count("a") < 130 and set(drawn) == {"a", "c"}


def test_an_item_is_that_of_its_data_set() -> None:
    one, two = pairs("a"), pairs("b")
    mixed = MixedPairs({"a": one, "b": two}, {"a": 1, "b": 1}, seed=4)
    mixed.set_epoch(5)
    for i in (0, 7, -1):
        source = one if mixed[i]["fixed_id"][0] == "a" else two
        assert mixed[i]["fixed_id"] == source[i]["fixed_id"] and mixed[i]["moving_id"] == source[i]["moving_id"]


def test_an_epoch_draws_anew_everywhere() -> None:
    mixed = MixedPairs({"a": pairs("a"), "b": pairs("b")}, {"a": 1, "b": 1})
    drawn = []
    for epoch in (1, 2, 1):
        mixed.set_epoch(epoch)
        drawn.append([mixed[i]["fixed_id"] + mixed[i]["moving_id"] for i in range(50)])
    assert drawn[0] == drawn[2] != drawn[1]
    assert sum(a[1:] != b[1:] for a, b in zip(drawn[0], drawn[1])) > 20  # the data sets' own draws too


def test_joined_in_turn() -> None:
    joined = JoinedPairs([PairDataset(subjects("a", 2)), None, PairDataset(subjects("b", 2))])
    assert [item["fixed_id"] for item in joined] == ["a0", "a1", "b0", "b1"]
    assert [entry["id"] for entry in joined.data] == ["a0", "a1", "b0", "b1"]


def test_a_subject_on_both_sides_is_found() -> None:
    mixed = MixedPairs({"a": pairs("a"), "shapes": ShapePairs((8, 8, 8), 200)}, {"a": 1, "shapes": 1})
    check_disjoint(mixed.data, JoinedPairs([pairs("b")]).data)
    with pytest.raises(DataError, match="subject a0 is in training"):
        check_disjoint(mixed.data, JoinedPairs([pairs("b"), pairs("a")]).data)


def test_refuses() -> None:
    with pytest.raises(DataError, match=r"JoinedPairs\(\) 'datasets' must hold at least one"):
        JoinedPairs([None])
    with pytest.raises(DataError, match=r"MixedPairs\(\) 'datasets' must hold at least one"):
        MixedPairs({"a": None}, {"a": 1})
    with pytest.raises(ValueError, match="'weights' must be positive and name a, got {'a': 0}"):
        MixedPairs({"a": pairs("a")}, {"a": 0})
    with pytest.raises(ValueError, match="'weights' must be positive and name a, got {'b': 1}"):
        MixedPairs({"a": pairs("a")}, {"b": 1})
    with pytest.raises(ValueError, match="must have one length, got {'a': 200, 'b': 3}"):
        MixedPairs({"a": pairs("a"), "b": ShapePairs((8, 8, 8), 3)}, {"a": 1, "b": 1})
    with pytest.raises(IndexError, match="MixedPairs has 200 items, got index 200"):
        MixedPairs({"a": pairs("a")}, {"a": 1})[200]
