"""The notebooks run from top to bottom, without a download, and are stored without outputs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from .. import programs

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "docs" / "notebooks").glob("*.ipynb"))

# each cell by IPython, which a kernel has too; prints how many have shown something
RUN = """
import sys
import nbformat
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

shell, shown = InteractiveShell(config=Config({"HistoryManager": {"enabled": False}})), 0
for cell in nbformat.read(sys.argv[1], as_version=4).cells:
    if cell.cell_type == "code":
        with capture_output() as captured:
            outcome = shell.run_cell(cell.source)
        outcome.raise_error()
        shown += bool(captured.stdout)
sys.stdout.write(str(shown))
"""


def test_outputs_are_stripped() -> None:
    assert len(NOTEBOOKS) >= 2
    stored = []
    for path in NOTEBOOKS:
        cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
        assert len(cells) > 3
        stored += [f"{path.name} {cell['id']}" for cell in cells if cell["outputs"] or cell["execution_count"]]
    assert stored == []


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path: Path, tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("IPython")
    nbformat.validate(nbformat.read(path, as_version=4))
    done = programs.run(["-c", RUN, path], tmp_path, {**os.environ, "MPLBACKEND": "agg"}, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.splitlines()[-1]) > 3  # a logger may have kept the real stream
    assert list(tmp_path.iterdir()) == []  # what a notebook writes goes into a folder of its own
