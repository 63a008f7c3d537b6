"""The notebooks run from top to bottom, without a download, and are stored without outputs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "docs" / "notebooks").glob("*.ipynb"))


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
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    written = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    assert sum(bool(outputs) for outputs in written) > 3
    assert list(tmp_path.iterdir()) == []  # what a notebook writes goes into a folder of its own
