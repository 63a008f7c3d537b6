from __future__ import annotations

from collections import Counter

import pytest

from morphseek_monai.data import DataError
from morphseek_monai.data.pairs.pairing import choose_labelled, ordered_pairs, random_pair

WHO = ["a", "a", "b", "b"]
KIND = ["mr", "ct", "mr", "ct"]


@pytest.mark.parametrize(
    ("relation", "modalities", "expected"),
    [
        ("across", None, {(0, 2), (0, 3), (1, 2), (1, 3), (2, 0), (2, 1), (3, 0), (3, 1)}),
        ("within", None, {(0, 1), (1, 0), (2, 3), (3, 2)}),
        ("within", ("mr", "ct"), {(0, 1), (2, 3)}),
        ("across", ("mr", "ct"), {(0, 3), (2, 1)}),
        ("both", ("ct", "mr"), {(1, 0), (1, 2), (3, 0), (3, 2)}),
        ("across", ("mr", "mr"), {(0, 2), (2, 0)}),
    ],
)
def test_relation_and_modalities(
    relation: str, modalities: tuple[str, str] | None, expected: set[object]
) -> None:
    pairs = ordered_pairs(WHO, relation, modalities, KIND)
    assert {tuple(pair) for pair in pairs.tolist()} == expected
    assert len(pairs) == len(expected)


def test_both_is_every_ordered_pair_of_different_images() -> None:
    assert len(ordered_pairs(WHO, "both")) == 4 * 3


def test_no_pair_left_is_named() -> None:
    with pytest.raises(
        DataError, match="4 images of 2 subjects make no pair with relation 'across' and modalities"
    ):
        ordered_pairs(WHO, "across", ("mr", "pet"), KIND)
    with pytest.raises(ValueError, match="'relation' must be one of"):
        ordered_pairs(WHO, "between")


def test_draws_depend_on_seed_epoch_and_index_only_and_are_uniform() -> None:
    draws = [random_pair(10, 1, epoch, index) for epoch in range(40) for index in range(50)]
    assert draws == [random_pair(10, 1, epoch, index) for epoch in range(40) for index in range(50)]
    for other in (
        [random_pair(10, 2, 0, i) for i in range(50)],
        [random_pair(10, 1, 1, i) for i in range(50)],
    ):
        assert other != draws[:50]
    counts = Counter(draws)
    # 2000 draws over 10 pairs: 200 each, standard deviation 13.4; five of them
    assert all(abs(counts[pair] - 200) < 67 for pair in range(10))


def test_fewer_labelled_people_are_part_of_more() -> None:
    who = [f"{i // 2}" for i in range(20)]
    previous: set[int] = set()
    for count in range(11):
        chosen = {i for i, use in enumerate(choose_labelled(who, count, seed=3)) if use}
        assert len(chosen) == 2 * count  # both images of a person
        assert previous <= chosen
        previous = chosen
    assert choose_labelled(who, 3, seed=3) != choose_labelled(who, 3, seed=4)


@pytest.mark.parametrize(("labelled", "count"), [(0.0, 0), (0.5, 5), (1.0, 10), (0, 0), (1, 1), (99, 10)])
def test_share_and_number(labelled: float, count: int) -> None:
    assert sum(choose_labelled([str(i) for i in range(10)], labelled, seed=0)) == count


@pytest.mark.parametrize("labelled", [-1, 1.5, -0.1, True])
def test_labelled_out_of_range(labelled: float) -> None:
    with pytest.raises(ValueError, match="'labelled' must be a share"):
        choose_labelled(["a"], labelled, seed=0)
