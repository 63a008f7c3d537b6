"""A healthy folder to plant faults into, and what ``check-data`` says about it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from morphseek_monai.apps.main import main
from morphseek_monai.data import write_phantom
from morphseek_monai.data.scans.stored import write_nifti

Rewrite = Callable[..., None]


@pytest.fixture(scope="session")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("healthy")
    write_phantom(folder, subjects=6, shape=(24, 22, 20), validation=2)
    return folder


@pytest.fixture
def folder(healthy: Path, tmp_path: Path) -> Path:
    """Six phantoms, 0005 and 0006 held out."""
    return Path(shutil.copytree(healthy, tmp_path / "data"))


class Checked:
    """Outcome of one ``check-data``: exit code, JSON report, and what is not OK."""

    def __init__(self, code: int, report: dict[str, Any]) -> None:
        self.code = code
        self.report = report
        self.bad = [finding for finding in report["findings"] if finding["level"] != "OK"]

    def only(self, check: str) -> dict[str, Any]:
        """The one finding of a check."""
        matches = [finding for finding in self.bad if finding["check"] == check]
        assert len(matches) == 1, self.report["findings"]
        return matches[0]


@pytest.fixture
def check(tmp_path: Path) -> Callable[..., Checked]:
    def run(folder: Path, *options: str) -> Checked:
        report = tmp_path / "report.json"
        code = 0
        try:
            main(["check-data", str(folder), "--report", str(report), *options])
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Checked(code, json.loads(report.read_text()))

    return run


@pytest.fixture
def rewrite() -> Rewrite:
    """``rewrite(folder, role, name, edit, affine)``: store a file with another array, another affine."""

    def run(folder: Path, role: str, name: str, edit: Any = None, affine: Any = None) -> None:
        path = folder / f"{role}sTr" / f"{name}.nii.gz"
        image: Any = nib.load(path)
        array = np.array(image.dataobj)
        grid = image.affine
        write_nifti(path, array if edit is None else edit(array), grid if affine is None else affine(grid))

    return run
