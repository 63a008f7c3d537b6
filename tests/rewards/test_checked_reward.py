"""Foreign functions as rewards: what is taken, what is refused and with which words."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from torch import Tensor

from morphseek_monai.rewards import CheckedReward, DiceGain, LocalDiceGain, RewardState

SIZE = (6, 7, 8)


def state() -> RewardState:
    generator = torch.Generator().manual_seed(0)
    moving, fixed = torch.randint(0, 3, (2, 1, 1, *SIZE), generator=generator).byte()
    ddf = torch.randn(4, 3, *SIZE, generator=generator)
    return RewardState(moving, fixed, ddf[:1], ddf[1:])


def by_field(given: RewardState) -> Tensor:
    return given.ddf.mean((1, 2, 3, 4))


@pytest.mark.parametrize(
    "kind",
    [lambda r: r, lambda r: r.double().numpy(), lambda r: r.tolist(), lambda r: list(r), lambda r: tuple(r.numpy())],
)
def test_takes_numbers_of_any_kind(kind: Callable[[Tensor], Any]) -> None:
    given = state()
    given.ddf.requires_grad_()
    reward = CheckedReward(lambda one: kind(by_field(one)))(given)
    assert reward.dtype == torch.float32
    assert not reward.requires_grad
    torch.testing.assert_close(reward, by_field(given).detach())


def test_a_reward_of_the_package_is_prepared_and_answers_as_before() -> None:
    given, own = state(), DiceGain(3)
    checked = CheckedReward(own)
    assert checked.prepare(given).previous_dice is not None
    assert torch.equal(checked(given), own(given))
    assert CheckedReward(by_field).prepare(given) is given
    local = LocalDiceGain(3)
    assert torch.equal(CheckedReward(local, by_voxel=True)(given), local(given))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (0.5, "must have shape (3,), got (); return a number for each field of state.ddf"),
        ([[1.0], [2.0], [3.0]], "must have shape (3,), got (3, 1); return a number"),
        (np.zeros(2), "must have shape (3,), got (2,); return a number"),
        ([1.0, float("nan"), 2.0], "must be finite, got nan; return a low number for a field that cannot be rated"),
        ([1.0, 2.0, float("-inf")], "must be finite, got -inf; return a low number"),
        (None, "must return numbers, got NoneType; return one for each field of state.ddf"),
        (["a", "b", "c"], "must return numbers, got list; return one for each"),
    ],
)
def test_refuses_in_one_line(answer: Any, message: str) -> None:
    def my_score(given: RewardState) -> Any:
        return answer

    with pytest.raises((TypeError, ValueError), match=f"^reward my_score {re.escape(message)}") as caught:
        CheckedReward(my_score)(state())
    assert "\n" not in str(caught.value)


def test_refuses_one_number_where_every_voxel_is_credited() -> None:
    with pytest.raises(ValueError, match=r"by_field must have shape \(3, 6, 7, 8\), got \(3,\); .* each voxel"):
        CheckedReward(by_field, by_voxel=True)(state())


def test_refuses_what_cannot_be_called() -> None:
    with pytest.raises(TypeError, match=r"^reward must be a function of a RewardState, got 3; name one by _target_"):
        CheckedReward(3)  # type: ignore[arg-type]


def by_axis(given: RewardState, axis: int) -> Tensor:
    return given.ddf[:, axis].mean((1, 2, 3))


class Halved:
    """An object, as a config makes it from a class."""

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def __call__(self, given: RewardState) -> list[float]:
        return (by_axis(given, self.axis) / 2).tolist()


@pytest.mark.parametrize(
    ("config", "share", "name"),
    [
        ({"_target_": f"{__name__}.by_axis", "_mode_": "callable", "axis": 2}, 1.0, "by_axis"),
        ({"_target_": f"{__name__}.Halved", "axis": 2}, 0.5, "Halved"),
    ],
)
def test_is_named_in_a_bundle_config(config: dict[str, Any], share: float, name: str) -> None:
    reward = CheckedReward(ConfigParser({"reward": config}).get_parsed_content("reward"))
    assert reward.name == name
    torch.testing.assert_close(reward(state()), share * by_axis(state(), 2))


def test_fields_that_are_not_finite_are_left_to_the_trainer() -> None:
    """It skips the iteration; a network that met NaN is no fault of the reward."""
    label = torch.ones(1, 1, 8, 8, 8, dtype=torch.uint8)
    ddf = torch.full((1, 3, 8, 8, 8), torch.nan)
    state = RewardState(label, label, torch.zeros(1, 3, 8, 8, 8), ddf)
    assert CheckedReward(lambda state: state.ddf.mean((1, 2, 3, 4)))(state).isnan().all()
