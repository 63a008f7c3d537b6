"""``morphseek segment`` with real registrations of phantoms, one of them damaged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from morphseek_monai.apps.main import main
from morphseek_monai.data import write_phantom
from morphseek_monai.metrics import hard_dice


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantoms of 48 voxels: ``scan``, and the atlases 0001, 0002 and the damaged 0003."""
    folder = tmp_path_factory.mktemp("phantoms")
    write_phantom(folder / "phantom", subjects=4)
    for kind, source in (("images", "imagesTr"), ("labels", "labelsTr")):
        (folder / "atlases" / kind).mkdir(parents=True)
        for number in ("0001", "0002", "0003"):
            own = folder / f"atlases/{kind}/{number}.nii.gz"
            shutil.copy(folder / f"phantom/{source}/PhantomBrain_{number}_0000.nii.gz", own)
    for name, source in (("scan", "imagesTr"), ("truth", "labelsTr")):
        shutil.copy(folder / f"phantom/{source}/PhantomBrain_0004_0000.nii.gz", folder / f"{name}.nii.gz")
    damaged = folder / "atlases/images/0003.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:3000])
    return folder


def test_labels_of_a_phantom(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "out"
    options = ["--bundle", "morphseek_phantom", "--affine", "off", "--refine", "10"]
    files = ["--image", str(folder / "scan.nii.gz"), "--atlases", str(folder / "atlases"), "--out", str(out)]
    main(["segment", *files, *options])
    printed = capsys.readouterr()
    assert f"{out / 'labels.nii.gz'}: 12 structures from 2 atlases; agreement 0." in printed.out
    damaged = [line for line in printed.err.splitlines() if line.startswith("notice: atlas 0003 is left out")]
    assert len(damaged) == 1 and "truncated or damaged" in damaged[0]
    labels, truth = (nib.load(path) for path in (out / "labels.nii.gz", folder / "truth.nii.gz"))
    assert np.array_equal(labels.affine, truth.affine) and labels.get_data_dtype() == np.uint8
    found, drawn = np.asarray(labels.dataobj), np.asarray(truth.dataobj)
    before = np.asarray(nib.load(folder / "atlases/labels/0001.nii.gz").dataobj)
    maps = (torch.from_numpy(one.astype(np.int64))[None, None] for one in (drawn, found, before))
    fixed, fused, start = maps
    assert hard_dice(fixed, fused, 13).mean() > hard_dice(fixed, start, 13).mean() + 0.1
    record = json.loads((out / "segment.json").read_text())
    assert [atlas["name"] for atlas in record["atlases"]] == ["0001", "0002", "0003"]
    assert record["options"]["refine"] == 10 and not (out / "atlases/0001/report.html").exists()
