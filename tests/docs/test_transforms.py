"""docs/transforms.md: its commands and its Python run on a real registration's folder."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from morphseek_monai.apps.main import main
from morphseek_monai.data import write_phantom
from morphseek_monai.registration.folder import read_grid
from morphseek_monai.spatial.files.transform_file import write_transform
from morphseek_monai.spatial.transform import make_transform

PAGE = Path(__file__).resolve().parents[2] / "docs" / "transforms.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)


@pytest.fixture
def workplace(registered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that the page speaks of."""
    (tmp_path / "out").mkdir()
    for name in ("transform.h5", "inverse.h5", "result.json"):
        shutil.copy(registered / name, tmp_path / "out")
    for path in registered.glob("*.nii.gz"):
        shutil.copy(path, tmp_path)
    grids = {name: read_grid(registered / f"{name}.nii.gz") for name in ("fixed", "moving")}
    for name, grid in grids.items():
        np.savetxt(tmp_path / f"{name}.csv", grid.centre[None], delimiter=",", header="x,y,z", comments="")
    write_transform(tmp_path / "to_atlas.h5", make_transform(np.diag([1.1, 1, 1, 1]), None, grids["moving"]))
    for name in ("OASIS", "LUMIR"):
        write_phantom(tmp_path / name, subjects=4, shape=(16, 16, 16))
    (tmp_path / "fields").mkdir()
    for names in ("0003_0000_0004_0000", "0004_0000_0003_0000", "0003_0004", "0004_0003"):
        field = nib.Nifti1Image(np.zeros((16, 16, 16, 3), np.float32), np.eye(4))
        nib.save(field, tmp_path / "fields" / f"disp_{names}.nii.gz")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_commands_write_what_they_name(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    commands = [shlex.split(line)[1:] for line in lines if not line.startswith("morphseek register")]
    assert len(commands) >= 12
    for command in commands:
        main(command)
        assert capsys.readouterr().out.strip()
        if "--out" in command:
            assert (workplace / command[command.index("--out") + 1]).is_file()


def test_python_runs(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen: dict[str, object] = {}
    exec("\n".join(blocks("py")), seen)  # the page's own code
    assert capsys.readouterr().out == "tensor([0.]) tensor([20.0000])\nCompositeTransform 2\n"
    assert seen["warped"].GetSize() == seen["fixed"].GetSize()  # type: ignore[attr-defined]
