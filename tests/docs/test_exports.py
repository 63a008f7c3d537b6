"""The commands and examples of docs/exports.md, in a copy of a bundle; TensorRT's needs CUDA and is not run."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from .. import programs

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "exports.md").read_text(encoding="utf-8")

# to the page's examples: the network in Python answers the same, but for samples that round into the next voxel
COMPARE = """
import numpy as np
import torch
from monai.bundle import ConfigParser

parser = ConfigParser()
parser.read_config("configs/inference.json")
network = parser.get_parsed_content("network_def").eval()
network.load_state_dict(torch.load("models/model.pt"))
with torch.no_grad():
    expected = network(torch.as_tensor(image)).numpy()
off = abs(np.asarray(ddf) - expected)
assert off.mean() < 1e-4 and off.max() < 0.05 and abs(expected).max() > 0.5, (off.mean(), off.max())
"""


def section(title: str) -> tuple[list[str], str]:
    """Words of the command of a section, and the example that loads what it wrote."""
    text = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    command, example = (re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S) for language in ("bash", "py"))
    return shlex.split(command[0]), example[0]


@pytest.mark.slow
@pytest.mark.parametrize(("title", "needs"), [("TorchScript", []), ("ONNX", ["onnx", "onnxscript", "onnxruntime"])])
def test_export_and_load(title: str, needs: list[str], tmp_path: Path) -> None:
    for package in needs:
        pytest.importorskip(package)
    bundle = tmp_path / "bundle"
    shutil.copytree(ROOT / "bundles" / "morphseek_phantom", bundle, ignore=shutil.ignore_patterns("data", "eval"))
    command, example = section(title)
    assert command[0] == "python"
    for arguments in (command[1:], ["-c", example + COMPARE]):
        run = programs.run(arguments, cwd=bundle)
        assert run.returncode == 0, run.stderr[-2000:]
    (promised,) = re.findall(r"print\(.*\)  # (.*)$", example, re.M)
    assert run.stdout.splitlines()[-1] == promised


def test_tensorrt_command_names_what_the_others_name() -> None:
    """Its files and ids are those of the commands that are run."""
    tensorrt, onnx = section("TensorRT")[0], section("ONNX")[0]
    assert tensorrt[:4] == ["python", "-m", "monai.bundle", "trt_export"]
    for option in ("--ckpt_file", "--meta_file", "--config_file"):
        assert tensorrt[tensorrt.index(option) + 1] == onnx[onnx.index(option) + 1]
    assert tensorrt[4] == onnx[4] == "network_def"
