"""``morphseek register`` where the machine is not as a developer's: no home, no display, names of any letters."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from .register_runs import write_pair


def test_a_home_that_cannot_be_written_no_display_and_a_name_with_spaces_and_umlauts(tmp_path: Path) -> None:
    folder = tmp_path / "Köpfe von früher, 2. Serie"
    folder.mkdir()
    scans = write_pair(tmp_path)
    for name in ("fixed", "moving"):
        shutil.copy(scans / f"{name}.nii.gz", folder / f"{name} Schädel.nii.gz")
    (tmp_path / "home").write_text("a file, in which even the superuser makes no folder")
    gone = ("DISPLAY", "MPLCONFIGDIR", "MPLBACKEND", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in gone}
    modules = os.pathsep.join(os.path.abspath(path) for path in sys.path if path)
    environment |= {"HOME": str(tmp_path / "home"), "PYTHONPATH": modules}
    words = ["--fixed", "fixed Schädel.nii.gz", "--moving", "moving Schädel.nii.gz", "--out", "Ergebnis für Ä"]
    options = ["--bundle", "morphseek_phantom", "--affine", "off", "--refine", "1"]
    command = [sys.executable, "-m", "morphseek_monai", "register", *words, *options]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    left = {path.name for path in (folder / "Ergebnis für Ä").iterdir()}
    assert left == {
        "inverse.h5", "jacobian.nii.gz", "report.html", "report.png", "result.json",
        "transform.h5", "warped.nii.gz",
    }  # fmt: skip
    record = json.loads((folder / "Ergebnis für Ä/result.json").read_text(encoding="utf-8"))
    assert record["fixed"]["path"].endswith("fixed Schädel.nii.gz")
