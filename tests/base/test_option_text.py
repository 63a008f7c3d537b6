"""Names of files and folders are what was typed, whatever Python would read in them."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fire
import nibabel as nib
import numpy as np
import pytest

from morphseek_monai.apps.main import COMMANDS, find_command, main
from morphseek_monai.base.errors import DataError
from morphseek_monai.base.option_text import quote_texts
from morphseek_monai.registration.batch.table import read_pairs

NAMES = ["20240101_01", "1e5", "1.10", "0x1F", "run#3", "a,b", "None", "True", "[1]", "'x'", "007", "täst ü", "{a:1}"]
CALLS: list[tuple[Any, ...]] = []


def collect(
    out: str,
    label: str | None = None,
    files: str | Sequence[str] | None = None,
    steps: int | str | None = None,
    **more: Any,
) -> None:
    """Note what arrives."""
    CALLS.append((out, label, files, steps, more))


def called(*words: str, like: Any = None) -> tuple[Any, ...]:
    CALLS.clear()
    fire.Fire(collect, quote_texts(words, collect, "collect", like))
    return CALLS[0]


@pytest.mark.parametrize("name", NAMES)
def test_text_stays_text_by_name_and_by_place(name: str) -> None:
    assert called("--out", name, "--label", name) == (name, name, None, None, {})
    assert called(f"--out={name}") == called(name) == (name, None, None, None, {})


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("1.10", "1.10"),
        ("a.h5,1e5", ["a.h5", "1e5"]),
        ('["a.h5","b.h5"]', ["a.h5", "b.h5"]),
        ("[broken", "[broken"),
        ("[a.h5,1e5]", ["a.h5", "1e5"]),
    ],
)
def test_one_or_several_texts(given: str, found: Any) -> None:
    assert called("x", "--files", given)[2] == found


def test_numbers_stay_numbers_and_options_of_another_command_are_known() -> None:
    def other(bundle: str, seed: int = 0) -> None: ...

    *_, steps, more = called("x", "--steps", "3", "--bundle", "1e5", "--seed", "2", like=other)
    assert (steps, more) == (3, {"bundle": "1e5", "seed": 2})


@pytest.mark.parametrize(
    "words", [["--out"], ["--out", "--label=x"], ["--noout"], ["-out"], ["-o"], ["--label", "-o", "x"]]
)
def test_an_option_of_text_needs_a_value(words: list[str]) -> None:
    with pytest.raises(DataError, match=r"collect: \S+ needs a value, got none; write"):
        quote_texts(words, collect, "collect")


def test_values_that_look_like_numbers_are_values() -> None:
    found = quote_texts(["--out", "-3", "--label=", "--steps", "--flag", "--", "--help"], collect, "collect")
    assert found == ["--out", "'-3'", "--label=''", "--steps", "--flag", "--", "--help"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_path_of_every_command_is_text(name: str) -> None:
    """Only what is annotated as a number or a truth value is left to Fire."""
    for option, parameter in inspect.signature(find_command(name)).parameters.items():
        guessed = {"int", "float", "bool", "Any", "Sequence[int]", "Sequence[float]"}
        (found,) = quote_texts([f"--{option}=1e5"], find_command(name), name)
        quoted = found.endswith("1e5'") and found.startswith(f"--{option}='")
        assert quoted or guessed & set(str(parameter.annotation).split(" | ")), f"{name} --{option}"


@pytest.mark.parametrize("name", ["20240101_01", "1e5", "1.10", "0x1F", "run#3", "a,b"])
def test_a_folder_has_the_name_that_was_typed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    main(["phantom", "--out", name, "--subjects", "4", "--shape", "16"])
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_table_of_pairs_keeps_text_too(tmp_path: Path) -> None:
    for path in ("1e5.nii", "1.10.nii"):
        nib.save(nib.Nifti1Image(np.zeros((8, 8, 8)), np.eye(4)), tmp_path / path)
    (tmp_path / "pairs.csv").write_text("fixed,moving,name,bundle,seed\n1e5.nii,1.10.nii,0x1F,1e5,3\n")
    (row,) = read_pairs(tmp_path / "pairs.csv")
    assert (row.name, row.options.bundle, row.options.seed) == ("0x1F", "1e5", 3)
    assert row.fixed.endswith("/1e5.nii")
