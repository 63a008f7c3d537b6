"""Paths of every command are absolute before it runs, whatever the working folder becomes meanwhile."""

from __future__ import annotations

import ast
import inspect
import os
import shutil
import threading
import time
from pathlib import Path

import itkConfig
import pytest
from itk.support.base import LibraryLoader

from morphseek_monai.apps.main import COMMANDS, LIKE_REGISTER, find_command
from morphseek_monai.base import files
from morphseek_monai.base.errors import DataError
from morphseek_monai.base.option_text import quote_texts

from .register_runs import QUICK, run

# text of commands that names neither a file nor a folder; a new option must be a path, or be listed here
WORDS = {
    "register": {
        "modality", "fixed_modality", "moving_modality", "steps", "refine", "device", "max_memory", "space",
        "transforms",
    },
    "warp-image": {"to", "interpolation"},
    "map-points": {"to", "space", "source"},
    "jacobian": {"of"},
    "convert-transform": {"to"},
    "evaluate": {"space", "challenge"},
    "build-atlas": {"subjects", "layout", "modality"},
    "check-data": {"layout", "overrides"},
    "phantom": {"kind"},
    "batch": {"options"},
    "segment": {"fusion", "options"},
    "align-series": {"transform", "interpolation", "options"},
}  # fmt: skip
OPTIONS = [
    (name, parameter.name, str(parameter.annotation))
    for name in COMMANDS
    for parameter in inspect.signature(find_command(name)).parameters.values()
    if any(kind in str(parameter.annotation) for kind in ("str", "Any", "Path", "TransformText"))
    and parameter.name not in WORDS.get(name, set())
]


def given(command: str, *words: str) -> str:
    """The value of the last word after the door."""
    like = find_command("register") if command in LIKE_REGISTER else None
    value = quote_texts(words, find_command(command), command, like)[-1]
    return str(ast.literal_eval(value.partition("=")[2] if value.startswith("--") else value))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a file and a bundle."""
    (tmp_path / "some").mkdir()
    (tmp_path / "some/file.h5").touch()
    (tmp_path / "some/bundle/configs").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("command", "option", "annotation"), OPTIONS)
def test_a_relative_path_is_made_absolute(command: str, option: str, annotation: str, here: Path) -> None:
    for words in ([f"--{option}", "some/file.h5"], [f"--{option}=some/file.h5"]):
        assert given(command, *words) == str(here / "some/file.h5")
    assert given(command, f"--{option}", "/some/file.h5") == "/some/file.h5"
    assert given(command, f"--{option}=") == ""  # which the command refuses
    if "PathWord" in annotation:
        assert given(command, f"--{option}", "auto") == "auto"
        assert given(command, f"--{option}", "morphseek_phantom") == "morphseek_phantom"
        assert given(command, f"--{option}", "some/bundle") == str(here / "some/bundle")
    else:  # the file need not be there yet
        assert given(command, f"--{option}", "new/../file") == str(here / "new/../file")
    if "PathText" not in annotation:
        assert given(command, f"--{option}", "fsl:some/file.h5") == f"fsl:{here}/some/file.h5"
    if "Sequence" in annotation:
        first, second = ast.literal_eval(given(command, f"--{option}", "a.h5,fsl:b.mat"))
        assert (first, Path(second.removeprefix("fsl:")).is_absolute()) == (str(here / "a.h5"), True)


def test_paths_by_place_and_those_of_register_given_to_batch(here: Path) -> None:
    assert given("invert", "a.h5", "fixed.nii.gz") == str(here / "fixed.nii.gz")
    assert given("batch", "pairs.csv") == str(here / "pairs.csv")
    assert given("batch", "pairs.csv", "--affine", "some/file.h5") == str(here / "some/file.h5")


def test_there_are_paths_to_look_at() -> None:
    assert len(OPTIONS) > 40 and {name for name, _, _ in OPTIONS} == set(COMMANDS) - {"info"}


def test_a_working_folder_that_is_gone_is_told(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "short").mkdir()
    monkeypatch.chdir(here / "short")
    (here / "short").rmdir()
    with pytest.raises(DataError, match=r"the working folder is gone, and out is relative to it; change to another"):
        given("phantom", "--out", "out")


def test_registers_while_itk_slowly_loads_its_modules(
    phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ITK's own loader, slowed down, moves the process to and fro from the first look at the scans to the end."""
    for number, name in ((3, "fixed"), (4, "moving")):
        shutil.copy(phantom / f"imagesTr/PhantomBrain_000{number}_0000.nii.gz", tmp_path / f"{name} scan.nii.gz")
    monkeypatch.chdir(tmp_path)
    loader, stop = LibraryLoader(), threading.Event()
    away: list[str] = []

    def load() -> None:
        while not stop.is_set():
            loader.setup()
            away.append(os.getcwd())
            time.sleep(0.004)
            loader.cleanup()

    def require_scan(path: str, role: str) -> None:
        if not thread.is_alive():
            thread.start()
        time.sleep(0.01)
        files.require_scan(path, role)

    thread = threading.Thread(target=load)
    monkeypatch.setattr("morphseek_monai.apps.register.require_scan", require_scan)
    try:
        outcome = run("fixed scan.nii.gz", "moving scan.nii.gz", "out", *QUICK, "--refine=off", "--transforms=ants")
    finally:
        stop.set()
        thread.join()
    assert outcome.code in (0, 3) and outcome.err == "" and len(away) > 100, outcome
    written = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")}
    ants = {"transforms/ants1Warp.nii.gz", "transforms/ants_inverse1Warp.nii.gz"}
    assert written == ants | {"inverse.h5", "jacobian.nii.gz", "result.json", "transform.h5", "warped.nii.gz"}
    assert set(away) == {itkConfig.swig_lib}
