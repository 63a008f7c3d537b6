"""Help and refusals do not wait for libraries that they do not need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from morphseek_monai.apps.main import COMMANDS
from morphseek_monai.data.scans.scan import write_scan
from morphseek_monai.space.grid import Grid

PROGRAM = """
import contextlib, io, json, sys
from morphseek_monai.apps.main import main

told = []
for words in json.load(sys.stdin):
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            code = main(words)
        except SystemExit as stop:
            code = stop.code
    loaded = [name for name in ("torch", "monai", "itk", "matplotlib", "ignite", "scipy") if name in sys.modules]
    told.append((code, said.getvalue(), loaded))
json.dump(told, sys.stdout)
"""


def run(lines: Sequence[str], cwd: Path) -> Iterator[tuple[str, int, str, set[str]]]:
    """One fresh process for many command lines: of each the exit code, the output, and what is loaded after it."""
    environment = {name: value for name, value in os.environ.items() if name != "FORCED_AMP"}
    environment["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, filter(None, sys.path)))
    words = json.dumps([line.split() for line in lines])
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, input=words, capture_output=True, text=True, cwd=cwd, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    for line, (code, said, loaded) in zip(lines, json.loads(done.stdout), strict=True):
        yield line, code, said, set(loaded)


def test_help_loads_nothing(tmp_path: Path) -> None:
    for line, code, said, loaded in run(["--help", *(f"{name} --help" for name in COMMANDS)], tmp_path):
        assert (code, loaded) == (0, set()) and "SYNOPSIS" in said, line


def test_a_misspelt_command_or_option_loads_nothing(tmp_path: Path) -> None:
    for line, code, said, loaded in run(["regster", "register a b c --stepz 3", "register a"], tmp_path):
        assert (code, loaded) == (2, set()) and "ERROR" in said, line


ABSENT = {
    "register none.nii.gz there.nii.gz out": "fixed image none.nii.gz does not exist",
    "register there.nii.gz none.nii.gz out": "moving image none.nii.gz does not exist",
    "batch none.csv out": "table of pairs none.csv does not exist",
    "segment none.nii.gz . out": "image none.nii.gz does not exist",
    "align-series none.nii.gz out": "series none.nii.gz does not exist",
    "warp-image none.nii.gz out.nii.gz --registration .": "image none.nii.gz does not exist",
    "warp-image there.nii.gz out.nii.gz": "give either --registration DIR or --transform",
    "map-points p.csv fixed . out.csv": "give --from fixed --to moving",
    "jacobian t.h5 none.nii.gz out.nii.gz": "grid none.nii.gz does not exist",
    "jacobian t.h5 there.nii.gz out.nii.gz --of half": "--of must be total or deformable",
    "invert t.h5 none.nii.gz out.h5": "grid none.nii.gz does not exist",
    "compose a.h5 out.h5 --grid none.nii.gz": "grid none.nii.gz does not exist",
    "evaluate --registration . --fixed_label none.nii.gz --moving_label there.nii.gz": "none.nii.gz does",
    "evaluate": "give either --registration DIR or --transform FILE",
    "build-atlas none . out": "dataset_dir none does not exist",
    "check-data none": "dataset_dir none does not exist",
    "check-data . --config none.json": "config none.json does not exist",
    "export-bundle none out": "none is no bundle",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan, and a registration without its transform."""
    path = tmp_path_factory.mktemp("startup")
    grid = Grid((9, 8, 8), np.eye(4))
    write_scan(path / "there.nii.gz", np.arange(576, dtype=np.int16).reshape(9, 8, 8), grid)
    entry = f'{{"size": [9, 8, 8], "affine": {np.eye(4).tolist()}}}'
    (path / "result.json").write_text(f'{{"fixed": {entry}, "moving": {entry}}}')
    return path


def test_what_is_missing_is_told_before_anything_is_loaded(folder: Path) -> None:
    for line, code, said, loaded in run(list(ABSENT), folder):
        assert (code, loaded) == (2, set()), line
        assert said.startswith("morphseek: ") and said.count("\n") == 1
        assert ABSENT[line] in said.replace(f"{folder}/", "")


WRONG = {
    "register there.nii.gz there.nii.gz out --steps many": "steps must be",
    "register there.nii.gz there.nii.gz out --seed x": "seed must be",
    "register there.nii.gz there.nii.gz out --modality pet": "fixed image modality must be one of",
    "register there.nii.gz there.nii.gz out --bundle none": "bundle none is no folder of a bundle",
    "register there.nii.gz there.nii.gz out --affine none.txt": "affine none.txt does not exist",
    "register there.nii.gz there.nii.gz out --device gpu7": "device must be auto",
    "register there.nii.gz there.nii.gz out --max_memory lots": "max_memory must be a size",
    "batch result.json out --stepz 1": "stepz is no option of morphseek register",
    "segment there.nii.gz . out --stepz 1": "stepz is no option of morphseek register",
    "segment there.nii.gz . out --bundle none": "bundle none is no folder of a bundle",
    "align-series there.nii.gz out --refine 3": "--refine is no option of --transform rigid",
    "align-series there.nii.gz out --transform deformable --frame 1": "--frame is no option of --transform deformable",
    "warp-image there.nii.gz out.nii.gz --registration . --to both": "--to must be fixed or moving",
    "warp-image there.nii.gz out.nii.gz --registration .": "transform.h5 does not exist",
    "map-points none.csv fixed . out.csv --from moving": "points none.csv does not exist",
    "phantom out --kind leg": "'kind' must be one of",
    "build-atlas . . out --layout bids": "--layout must be auto or one of",
}


def test_what_is_wrong_is_told_without_monai_and_itk(folder: Path) -> None:
    for line, code, said, loaded in run(list(WRONG), folder):
        assert code == 2 and not loaded & {"monai", "itk", "matplotlib", "ignite"}, line
        assert WRONG[line] in said.replace(f"{folder}/", "") and said.count("\n") == 1
