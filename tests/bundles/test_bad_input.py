"""Wrong data, weights and options end, through MONAI's layers, in one line: the file, what is wrong, the cure."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow
from numpy.typing import NDArray

MakeWorkflow = Callable[..., ConfigWorkflow]
Overrides = dict[str, Any]
Fault = Callable[["Data"], Overrides]


class Data:
    """The phantom's subjects as lists, with one file spoilt."""

    def __init__(self, phantom: Path, folder: Path) -> None:
        self.folder = folder
        self.subjects = [
            {"image": str(image), "label": str(phantom / "labelsTr" / image.name)}
            for image in sorted((phantom / "imagesTr").iterdir())
        ]

    def spoil(self, key: str, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Overrides:
        """Train on a changed copy of the first subject's image or label."""
        original = nib.load(self.subjects[0][key])
        path = self.folder / f"bad_{key}.nii.gz"
        nib.save(nib.Nifti1Image(change(np.asarray(original.dataobj).copy()), original.affine), path)
        self.subjects[0] = self.subjects[0] | {key: str(path)}
        return self.train()

    def train(self) -> Overrides:
        return {"train#dataset#data": self.subjects[:2], "validate#dataset#data": self.subjects[2:]}

    def pair(self) -> Overrides:
        return {"dataset#data": [{"fixed": self.subjects[0], "moving": self.subjects[1]}]}


def with_nan(image: NDArray[Any]) -> NDArray[Any]:
    changed = image.astype(np.float32)
    changed[0, 0, :2] = np.nan
    return changed


def missing_label(data: Data) -> Overrides:
    data.subjects[0]["label"] = "nowhere/bad_label.nii.gz"
    return data.train()


def truncated(data: Data) -> Overrides:
    path = data.folder / "bad_image.nii.gz"
    path.write_bytes(Path(data.subjects[0]["image"]).read_bytes()[:-2000])
    data.subjects[0]["image"] = str(path)
    return data.train()


def both_sides(data: Data) -> Overrides:
    return {"train#dataset#data": data.subjects[:3], "validate#dataset#data": data.subjects[2:]}


FAULTS: dict[str, tuple[Fault, str]] = {
    "another shape": (
        lambda d: d.spoil("image", lambda a: a[:-1]) | {"labelled": 0},
        r"images of a pair must have one shape, got .*\(31, 32, 32\) .*bad_image.nii.gz.*; add Resized",
    ),
    "label of another shape": (
        lambda d: d.spoil("label", lambda a: a[:-1]),
        r"label .*bad_label.nii.gz has shape \(31, 32, 32\) but image .*_0001_0000.nii.gz has .*; resample the label",
    ),
    "label that is not there": (
        missing_label,
        r"label nowhere/bad_label.nii.gz does not exist; correct the path in the data list",
    ),
    "label out of range": (
        lambda d: d.spoil("label", lambda a: a + 1),
        r"label .*bad_label.nii.gz has id 13 outside 0\.\.12; map its ids with SelectLabelsd or correct num_labels",
    ),
    "interpolated label": (
        lambda d: d.spoil("label", lambda a: a.astype(np.float32) / 2),
        r"label .*bad_label.nii.gz must hold whole numbers, got .*; resample label maps with nearest-neighbour",
    ),
    "NaN": (
        lambda d: d.spoil("image", with_nan),
        r"image .*bad_image.nii.gz has 2 NaN or infinite voxels; replace them",
    ),
    "NaN seen by a worker process": (
        lambda d: d.spoil("image", with_nan) | {"num_workers": 1},
        r"image .*bad_image.nii.gz has 2 NaN or infinite voxels; replace them",
    ),
    "constant image": (
        lambda d: d.spoil("image", np.ones_like),
        r"image .*bad_image.nii.gz is constant \(1 everywhere\); leave the file out",
    ),
    "4-D image": (
        lambda d: d.spoil("image", lambda a: np.stack([a, a], axis=-1)),
        r"image .*bad_image.nii.gz must be one 3-D volume .*, got \(2, 32, 32, 32\); take one volume",
    ),
    "truncated file": (truncated, r"image .*bad_image.nii.gz is truncated or damaged .*; copy it again"),
    "empty training list": (
        lambda d: {"train#dataset#data": []},
        r"the data list is empty; give at least two subjects",
    ),
    "empty validation list": (
        lambda d: {"validate#dataset#data": []},
        r"the data list is empty; give at least two subjects",
    ),
    "subject on both sides": (
        both_sides,
        r"subject PhantomBrain_0003 is in training \(.*\) and in validation \(.*\); take it out of one list",
    ),
    "entry without image": (
        lambda d: {"train#dataset#data": [{"label": "a.nii.gz"}] * 2},
        r"an entry of the data list must be \{'image': path, 'label': path\}, got \{'label': 'a.nii.gz'\}",
    ),
    "resume as text": (
        lambda d: {"resume": "true"},
        r"'resume' must be True or False, got 'true'; write --resume True or --resume False",
    ),
    "amp as text": (
        lambda d: {"amp": "false"},
        r"'enabled' must be True or False, got 'false'; write --amp True or --amp False",
    ),
    "no initial weights": (
        lambda d: {"init_weights": "nowhere/model.pt"},
        r"'path' nowhere/model.pt does not exist; train first, or set the weights' path",
    ),
}


@pytest.fixture
def data(phantom: Path, tmp_path: Path) -> Data:
    return Data(phantom, tmp_path)


@pytest.fixture
def last_line(
    bundle: Path, make_workflow: MakeWorkflow, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """``last_line("train", **overrides)``: run, and return the last line that Python prints for the uncaught error."""

    def run(*configs: str, **overrides: Any) -> str:
        with pytest.raises(Exception) as error:
            make_workflow(bundle, tmp_path, *configs, **overrides).run()
        sys.excepthook(error.type, error.value, error.tb)
        return capsys.readouterr().err.rstrip("\n").splitlines()[-1]

    return run


@pytest.mark.parametrize("fault", FAULTS)
def test_training_says_what_is_wrong(fault: str, data: Data, last_line: Callable[..., str]) -> None:
    spoil, message = FAULTS[fault]
    assert re.search(rf"^\w+: .*{message}", last_line("train", phase="warmup", **spoil(data)))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: d.spoil("image", with_nan), r"image .*bad_image.nii.gz has 2 NaN or infinite voxels; replace"),
        (lambda d: d.spoil("image", lambda a: a[:-1]), r"has shape .* but image .*; resample the label"),
        (missing_label, r"label nowhere/bad_label.nii.gz does not exist; correct the path"),
        (truncated, r"image .*bad_image.nii.gz is truncated or damaged .*; copy it again"),
    ],
    ids=["NaN", "shape", "missing", "truncated"],
)
def test_inference_says_what_is_wrong(
    spoil: Fault, message: str, data: Data, last_line: Callable[..., str], weights: Path
) -> None:
    spoil(data)
    assert re.search(rf"^DataError: .*{message}", last_line("inference", ckpt_path=str(weights), **data.pair()))


def test_images_on_different_grids(data: Data, last_line: Callable[..., str], weights: Path, tmp_path: Path) -> None:
    moved = nib.load(data.subjects[1]["image"])
    affine = moved.affine.copy()
    affine[0, 3] += 20
    nib.save(nib.Nifti1Image(np.asarray(moved.dataobj), affine), tmp_path / "moved.nii.gz")
    data.subjects[1] = {"image": str(tmp_path / "moved.nii.gz")}
    line = last_line("inference", ckpt_path=str(weights), **data.pair())
    assert re.search(r"^DataError: moving .*moved.nii.gz lies on another grid than fixed .*; ", line)


OTHER = (
    r"is a checkpoint of another architecture than MorphSeekNet: \d+ tensors differ, first .*; use the 'network_def'"
)


@pytest.mark.parametrize(
    ("configs", "key"),
    [(["train"], "init_weights"), (["train", "evaluate"], "ckpt_path"), (["inference"], "ckpt_path")],
    ids=["init_weights", "evaluate", "inference"],
)
def test_weights_of_another_network(configs: list[str], key: str, weights: Path, last_line: Callable[..., str]) -> None:
    line = last_line(*configs, **{key: str(weights), "backbone#extras": [5]})
    assert re.search(rf"^ValueError: .*model.pt {OTHER}", line)


@pytest.mark.parametrize("phase", ["warmup", "grpo"])
def test_checkpoint_of_another_network(phase: str, last_line: Callable[..., str], tmp_path: Path) -> None:
    names = ("model", "optimizer", "scheduler", "loss", "best", "stop", "trainer")
    path = tmp_path / "models" / f"checkpoint_{phase}.pt"
    path.parent.mkdir()
    torch.save({name: {"weight": torch.zeros(1)} for name in names}, path)
    line = last_line("train", resume=True, phase=phase)
    assert re.search(rf"^ValueError: .*checkpoint_{phase}.pt {OTHER}", line)
