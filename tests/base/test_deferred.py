"""Nothing runs before the whole command line was understood."""

from __future__ import annotations

import inspect
from typing import Any

import fire
import pytest

from morphseek_monai.apps.register import register
from morphseek_monai.base.deferred import deferred, run_deferred

CALLS: list[tuple[Any, ...]] = []


def add(first: int, second: int = 2, loud: bool = False) -> str:
    """Add two numbers.

    Args:
        first: one number.
        second: the other one.
        loud: with an exclamation mark.
    """
    CALLS.append((first, second, loud))
    return f"{first + second}{'!' if loud else ''}"


@pytest.fixture(autouse=True)
def no_calls() -> None:
    CALLS.clear()


def program(*arguments: str) -> None:
    fire.Fire({"add": deferred(add)}, list(arguments), name="program", serialize=run_deferred)


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [(["1"], "3"), (["1", "5"], "6"), (["--first=1", "--second", "4", "--loud"], "5!"), (["1", "--noloud"], "3")],
)
def test_a_good_line_runs_once_and_prints(
    arguments: list[str], printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    program("add", *arguments)
    assert capsys.readouterr().out == f"{printed}\n" and len(CALLS) == 1


@pytest.mark.parametrize("extra", [["--thrid", "3"], ["4", "True", "more"], ["4", "True", "__call__"], ["--help"]])
def test_what_is_left_over_stops_it(extra: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        program("add", "1", *extra)
    assert CALLS == [] and stop.value.code == (0 if extra == ["--help"] else 2)
    assert capsys.readouterr().out == ""


def test_help_is_that_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        program("add", "--help")
    shown = "".join(capsys.readouterr())
    assert "Add two numbers." in shown and "with an exclamation mark." in shown and "program add FIRST <flags>" in shown
    assert CALLS == []


def test_errors_of_the_command_pass() -> None:
    def broken() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fire.Fire(deferred(broken), [], serialize=run_deferred)


def test_signatures_stay() -> None:
    assert inspect.signature(deferred(register)) == inspect.signature(register)
    assert inspect.getdoc(deferred(register)) == inspect.getdoc(register)


def test_anything_else_is_serialised_as_it_is() -> None:
    assert run_deferred("text") == "text"
