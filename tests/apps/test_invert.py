"""``morphseek invert`` on files."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from morphseek_monai.apps.main import main
from morphseek_monai.registration.folder import read_grid
from morphseek_monai.spatial.files.transform_file import write_transform
from morphseek_monai.spatial.transform import make_transform


def test_simpleitk_comes_back_with_the_inverse(
    registered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = str(registered / "transform.h5"), str(registered / "fixed.nii.gz"), str(tmp_path / "inverse.h5")
    main(["invert", "--transform", files[0], "--grid", files[1], "--out", files[2]])
    printed = capsys.readouterr().out
    found = re.search(r"there and back: ([\d.e-]+) mm off on average, at most ([\d.e-]+) mm for 95 %", printed)
    assert found is not None and float(found.group(1)) < float(found.group(2)) < 0.1
    assert "notice" not in printed
    forward, backward = (sitk.ReadTransform(file) for file in (files[0], files[2]))
    grid = read_grid(files[1])
    for point in grid.centre * [-1, -1, 1] + np.random.default_rng(0).uniform(-6, 6, (10, 3)):
        there = forward.TransformPoint(point.tolist())
        assert np.linalg.norm(there - point) > 1
        assert np.linalg.norm(np.array(backward.TransformPoint(there)) - point) < 0.1


@pytest.mark.parametrize(
    ("displacement", "message"),
    [(8.0, "notice: the inverse misses by more than 1 mm in places"), (500.0, "carries every point off its grid")],
)
def test_a_bad_inverse_is_remarked_on(
    registered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], displacement: float, message: str
) -> None:
    grid = read_grid(registered / "fixed.nii.gz")
    if displacement < 100:  # noise that folds everywhere
        field = displacement * torch.rand(1, 3, *grid.size, generator=torch.Generator().manual_seed(0))
    else:
        field = torch.full((1, 3, *grid.size), displacement)
    write_transform(tmp_path / "t.h5", make_transform(np.eye(4), field, grid))
    options = ["--transform", str(tmp_path / "t.h5"), "--grid", str(registered / "fixed.nii.gz")]
    main(["invert", *options, "--out", str(tmp_path / "i.h5")])
    assert message in capsys.readouterr().out
    assert (tmp_path / "i.h5").is_file()


def test_a_file_that_is_no_transform(registered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = str(registered / "fixed.nii.gz")
    with pytest.raises(SystemExit) as stop:
        main(["invert", "--transform", image, "--grid", image, "--out", str(tmp_path / "i.h5")])
    error = capsys.readouterr().err
    assert stop.value.code == 2 and "must be an image of displacements" in error and error.count("\n") == 1
