"""``morphseek align-series`` on a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from morphseek_monai.apps.main import main

from ..registration.series.scene import pose, volume, write_series


def test_two_volumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    volumes = [volume(pose((0, shift, 0), (0, 0, 0)), seed) for seed, shift in enumerate((0, 2))]
    path = write_series(tmp_path / "series.nii.gz", [*volumes, np.zeros_like(volumes[0])])
    main(["align-series", "--series", str(path), "--out", str(tmp_path / "out"), "--interpolation", "linear"])
    printed = capsys.readouterr()
    assert printed.out.startswith("3 volumes, 1 of them unusable; framewise displacement 1.0")  # (0 + 2) / 2 mm
    assert "above 0.5 mm in 1; correlation with the mean 0.99" in printed.out
    assert "notice: volume 2 has one value everywhere (0)" in printed.err
    assert (tmp_path / "out/transforms/volume_0002.tfm").is_file()
