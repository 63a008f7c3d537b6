"""``morphseek info``: what a bug report needs, and nothing that names a person."""

from __future__ import annotations

import getpass
import os
import platform
import subprocess
import sys
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


def test_without_the_modules_of_posix_commands_start_and_info_says_what_is_missing() -> None:
    """As on Windows: the modules are hidden from a fresh process."""
    program = (
        "import sys\n"
        "for name in ('resource', 'fcntl', 'pwd', 'grp', 'termios', 'pydicom'): sys.modules[name] = None\n"
        "from morphseek_monai.apps.main import COMMANDS, find_command, main\n"
        "for name in COMMANDS: find_command(name)\n"
        "import morphseek_monai.registration.register, morphseek_monai.experiments\n"
        "main(['info'])\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("missing")]
    assert "resource (peak memory" in line and "fcntl (no experiments)" in line and "pydicom (no multi" in line
