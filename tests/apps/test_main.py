from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import pytest

from morphseek_monai.apps import main as program
from morphseek_monai.apps.main import COMMANDS, find_command, main
from morphseek_monai.data import training_subjects, validation_pairs

SMALL = ["--subjects", "4", "--shape", "16"]


def test_phantom_is_written_and_its_json_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["phantom", "--out", str(tmp_path / "p"), *SMALL])
    assert capsys.readouterr().out.strip() == str(tmp_path / "p" / "PhantomBrain_dataset.json")
    assert len(training_subjects(tmp_path / "p")) == 2 and len(validation_pairs(tmp_path / "p")) == 2


def test_shape_of_three_sizes_and_kind(tmp_path: Path) -> None:
    main(["phantom", str(tmp_path / "p"), "--kind=torso", "--subjects=2", "--shape=16,18,20", "--seed=3"])
    assert nib.load(training_subjects(tmp_path / "p")[0]["image"]).shape == (16, 18, 20)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--kind", "leg"], "'kind' must be one of brain, torso, liver, got 'leg'"),
        (["--subjects", "1"], "'subjects' must be"),
        (["--subjects", "many"], "--subjects and --seed must be whole numbers"),
        (["--shape", "tall"], "--shape N or X,Y,Z"),
        (["--shape", "4"], "'shape' must be three sizes of at least 16"),
    ],
)
def test_bad_values_are_one_line_and_code_2(
    arguments: list[str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["phantom", "--out", str(tmp_path / "p"), *arguments])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("morphseek: ") and reason in error and error.count("\n") == 1


def test_other_errors_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(program, "COMMANDS", ("broken",))
    monkeypatch.setattr(program, "find_command", lambda name: broken)
    with pytest.raises(ZeroDivisionError):
        main(["broken"])


def test_every_option_is_explained() -> None:
    for name in COMMANDS:
        command = find_command(name)
        text = inspect.getdoc(command) or ""
        for parameter in inspect.signature(command).parameters:
            assert f"    {parameter}: " in text, f"{name} --{parameter} has no help"


@pytest.mark.slow
def test_module_runs_as_a_program(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "morphseek_monai", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    shown = run("phantom", "--help")
    assert shown.returncode == 0 and "number of subjects" in shown.stdout + shown.stderr
    failed = run("phantom", "--out", str(tmp_path), "--kind", "leg")
    assert failed.returncode == 2
    assert (
        failed.stderr.strip().splitlines()[-1].startswith("morphseek: ") and "Traceback" not in failed.stderr
    )
