from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from morphseek_monai.experiments import table
from morphseek_monai.experiments.main import COMMANDS, main

WriteRuns = Callable[..., Path]


def commands() -> dict[str, Callable[..., Any]]:
    """All commands, those of groups too."""
    groups = {
        f"{name} {sub}": command
        for name in COMMANDS
        if isinstance(COMMANDS[name], dict)
        for sub, command in COMMANDS[name].items()
    }
    return {name: command for name, command in COMMANDS.items() if callable(command)} | groups


def test_a_command_prints_what_it_returns(write_runs: WriteRuns, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(write_runs([{"row": "a"}, {"row": "b", "order": 1, "dice": 0.6}]))
    main(["table", path, "--against", "a"])
    assert capsys.readouterr().out.rstrip() == table(path, against="a")


def test_grouped_commands(write_runs: WriteRuns, tmp_path: Path) -> None:
    path = write_runs([{"row": "a", "at": '{"J": 1}'}])
    main(["plot", "coordinate", str(path), "--x=J", f"--out={tmp_path}/x.png"])
    assert (tmp_path / "x.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["table", "nowhere.csv"], "nowhere.csv has no finished run"),
        (["run", "nowhere.json", "--dataset_dir", "data"], "plan nowhere.json cannot be read"),
    ],
)
def test_bad_plans_are_one_line_and_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("experiments: ") and message in error and error.count("\n") == 1


def test_every_option_is_explained() -> None:
    assert sorted(commands()) == ["grid", "plot coordinate", "plot curves", "run", "table"]
    for name, command in commands().items():
        text = inspect.getdoc(command) or ""
        for parameter in inspect.signature(command).parameters:
            assert f"    {parameter}: " in text, f"{name} --{parameter} has no help"
