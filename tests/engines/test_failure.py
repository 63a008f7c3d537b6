"""What MONAI wraps on its way through a config comes out again, as the last line."""

from __future__ import annotations

import sys

import pytest

from morphseek_monai.data import DataError
from morphseek_monai.engines import cause_of, show_cause_last


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)


def chain(*errors: BaseException) -> BaseException:
    """Errors raised from one another, the innermost first."""
    for inner, outer in zip(errors, errors[1:]):
        outer.__cause__ = inner
    return errors[-1]


WRAPPED = [
    RuntimeError("applying transform <LoadImaged>"),
    RuntimeError("Failed to evaluate ConfigExpression: \n('x')"),
]


@pytest.mark.parametrize("cause", [DataError("scan is empty; copy it again"), TypeError("'resume' must be True")])
def test_wrappers_come_off(cause: Exception) -> None:
    assert cause_of(chain(cause, *WRAPPED)) is cause
    assert cause_of(cause) is cause


def test_what_our_own_errors_come_from_stays_inside() -> None:
    own = chain(OSError("gzip"), DataError("scan is truncated; copy it again"))
    assert cause_of(chain(own, *WRAPPED)) is own


def test_other_runtime_errors_are_no_wrappers() -> None:
    own = chain(KeyError("x"), RuntimeError("10 iterations in a row were not finite"))
    assert cause_of(own) is own
    alone = RuntimeError("Failed to evaluate ...")
    assert cause_of(alone) is alone


def stderr_of(error: BaseException, capsys: pytest.CaptureFixture[str]) -> list[str]:
    sys.excepthook(type(error), error, None)
    return capsys.readouterr().err.rstrip("\n").splitlines()


def test_cause_is_the_last_line_once(capsys: pytest.CaptureFixture[str]) -> None:
    error = chain(ValueError("weights.pt does not exist; train first"), *WRAPPED)
    plain = stderr_of(error, capsys)
    show_cause_last()
    show_cause_last()
    assert stderr_of(error, capsys) == [*plain, "", "ValueError: weights.pt does not exist; train first"]


def test_an_error_of_its_own_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    plain = stderr_of(ValueError("x"), capsys)
    show_cause_last()
    assert stderr_of(ValueError("x"), capsys) == plain
