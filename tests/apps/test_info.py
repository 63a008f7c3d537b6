"""``morphseek info``: what a bug report needs, and nothing that names a person."""

from __future__ import annotations

import getpass
import platform
from pathlib import Path

import monai
import pytest
import torch

from morphseek_monai import __version__
from morphseek_monai.apps.main import main


def test_versions_and_machine(capsys: pytest.CaptureFixture[str]) -> None:
    main(["info"])
    rows = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert rows["morphseek_monai"] == __version__
    assert rows["torch"] == torch.__version__ and rows["monai"] == monai.__version__
    assert rows["python"].startswith(platform.python_version())
    assert platform.system() in rows["system"]
    assert f"torch threads {torch.get_num_threads()}" in rows["processors"]
    assert "GiB" in rows["memory"] or rows["memory"] == "unknown"
    assert {"itk", "nibabel", "numpy", "pytorch-ignite", "accelerator"} <= set(rows)


def test_no_names(capsys: pytest.CaptureFixture[str]) -> None:
    main(["info"])
    printed = capsys.readouterr().out
    assert str(Path.home()) not in printed and platform.node() not in printed.split()
    assert getpass.getuser() not in printed.split()
