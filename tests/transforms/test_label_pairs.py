from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from morphseek_monai.transforms import RandLabelContrastd, RandMirrord
from morphseek_monai.transforms.label_pairs import check_label_pairs


def test_none_and_lists() -> None:
    assert check_label_pairs(None, "f") == check_label_pairs([], "f") == []
    assert check_label_pairs([[3, 1], (2, 5)], "f") == [(3, 1), (2, 5)]


@pytest.mark.parametrize("transform", [RandMirrord, RandLabelContrastd])
@pytest.mark.parametrize("pairs", [[(1, 1)], [(1, 2), (2, 3)], [(0, 1)], [(1, -2)], [(1, 2, 3)], [(1,)]])
def test_pairs_must_be_distinct_ids(transform: Callable[..., Any], pairs: list[tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match=rf"^{transform.__name__}\(\) 'label_pairs' must be pairs .* of distinct ids"):
        transform(label_pairs=pairs)
