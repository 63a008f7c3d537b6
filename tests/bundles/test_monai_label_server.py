"""A real MONAI Label server labels an image with the atlas bundle; its environment is not this one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from morphseek_monai.apps.export_bundle import export_bundle

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "docs" / "monai_label" / "segment.py"
BUNDLE = ROOT / "bundles" / "morphseek_brain_atlas_segmentation"
PYTHON = os.environ.get("MONAILABEL_PYTHON", "")
needs_server = pytest.mark.skipif(
    not PYTHON, reason="set MONAILABEL_PYTHON to the Python of an environment with monailabel; docs/atlas.md"
)


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle's own template as a scan: 2 mm, axes LAS, far from the scanner's middle."""
    state = torch.load(BUNDLE / "models" / "model.pt", weights_only=True)
    affine = np.diag([-2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = [300, -40, 10]
    folder = tmp_path_factory.mktemp("scan")
    for name, tensor, factor in (("image", state["atlas_image"], 800), ("label", state["atlas_labels"], 1)):
        array = (factor * tensor[0, 0].numpy()[::-1]).astype(np.int16)
        nib.save(nib.Nifti1Image(array, affine), folder / f"{name}.nii.gz")
    return folder / "image.nii.gz"


def ask(python: str, bundle: Path, scan: Path, label: Path, path: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [python, str(SCRIPT), str(scan), str(label), "--bundle", str(bundle)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)


@needs_server
@pytest.mark.slow
@pytest.mark.parametrize("exported", [False, True], ids=["with the package", "exported, without it"])
def test_server_labels_the_scan(scan: Path, tmp_path: Path, exported: bool) -> None:
    bundle = Path(export_bundle(str(BUNDLE), str(tmp_path / "exported"))) if exported else BUNDLE
    label = tmp_path / "out" / "labels.nii.gz"
    result = ask(PYTHON, bundle, scan, label, "" if exported else str(ROOT))
    assert result.returncode == 0, result.stderr[-3000:]
    assert "31 labels known to the server" in result.stdout and "  13 brain-stem\n" in result.stdout
    image, answer = nib.load(scan), nib.load(label)
    assert answer.shape == image.shape
    np.testing.assert_allclose(answer.affine, image.affine, atol=1e-3)
    truth = np.asarray(nib.load(scan.with_name("label.nii.gz")).dataobj)
    assert (np.asarray(answer.dataobj) == truth)[truth > 0].mean() > 0.9


@needs_server
@pytest.mark.slow
def test_a_broken_bundle_shows_the_servers_log(scan: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "broken_segmentation"
    (bundle / "models").mkdir(parents=True)
    (bundle / "models" / "model.pt").write_bytes(b"no weights")
    result = ask(PYTHON, bundle, scan, tmp_path / "labels.nii.gz", str(ROOT))
    assert result.returncode != 0 and "MONAI Label failed: " in result.stderr
    assert not (tmp_path / "labels.nii.gz").exists()


def test_says_what_is_missing(tmp_path: Path) -> None:
    result = ask(sys.executable, tmp_path, tmp_path / "no.nii.gz", tmp_path / "labels.nii.gz", "")
    assert result.returncode != 0 and result.stderr.endswith("no.nii.gz does not exist\n")
