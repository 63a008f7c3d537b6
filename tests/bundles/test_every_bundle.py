"""Each bundle on a phantom of its own data set: trains, evaluates, infers; SimpleITK agrees with what it wrote."""

from __future__ import annotations

import csv
import importlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.bundle import ConfigParser, ConfigWorkflow
from numpy.typing import NDArray

from morphseek_monai.data import write_phantom

MakeWorkflow = Callable[..., ConfigWorkflow]
FOLDER = Path(__file__).resolve().parents[2] / "bundles"
EVERY = sorted(path.stem for path in (FOLDER / "common").glob("morphseek_*.json"))


class Case(NamedTuple):
    """How to run a bundle on its phantom."""

    kind: str
    labels: int
    overrides: dict[str, Any]


CASES = {
    "morphseek_phantom": Case("brain", 12, {"num_labels": 13}),
    "morphseek_brain_mri_oasis": Case("brain", 12, {"num_labels": 13, "spatial_size": [24, 24, 24]}),
    "morphseek_any": Case(
        "brain", 12, {"num_labels": 13, "grid": [16, 16, 16], "torso_dir": None, "unlike_contrast": False}
    ),
    "morphseek_abdomen_mr_ct": Case("torso", 4, {"num_labels": 5}),
    "morphseek_liver_ct_lits": Case(
        "liver", 2, {"num_labels": 3, "spatial_size": [24, 24, 24], "split#validation": None}
    ),
}


@pytest.fixture(scope="module", params=EVERY)
def bundle(request: pytest.FixtureRequest) -> Path:
    """Each bundle in turn."""
    return FOLDER / str(request.param)


@pytest.fixture(scope="module")
def overrides(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Settings for four subjects of the bundle's kind of data."""
    case = CASES[bundle.name]
    folder = tmp_path_factory.mktemp(case.kind)
    write_phantom(folder, case.kind, subjects=4, shape=(24, 24, 24), validation=2)
    return {"dataset_dir": str(folder), **case.overrides}


@pytest.fixture(scope="module")
def root(
    bundle: Path,
    overrides: dict[str, Any],
    make_workflow: MakeWorkflow,
    weights: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Folder in which the bundle has trained both phases; evaluation and inference use weights that displace."""
    folder = tmp_path_factory.mktemp("root")
    for configs in (("train",), ("train", "evaluate"), ("inference",)):
        given = {} if configs == ("train",) else {"ckpt_path": str(weights)}
        workflow = make_workflow(bundle, folder, *configs, **overrides, **given)
        assert workflow.check_properties() == []
        workflow.run()
        workflow.finalize()
    return folder


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_both_phases_train(root: Path) -> None:
    curves = table(root / "eval" / "curves.csv")
    assert [row["phase"] for row in curves] == ["warmup", "grpo"]
    for row in curves:
        assert all(math.isfinite(float(row[name])) for name in ("loss", "similarity", "kl", "grad_norm"))
        assert float(row["skipped"]) == 0
        assert 0.2 < float(row["val_mean_dice"]) < 0.95
    assert float(curves[1]["dice"]) > 0.05


def test_metrics_have_a_column_a_label_and_a_row_a_pair(root: Path, bundle: Path) -> None:
    rows = table(root / "eval" / "metrics" / "val_mean_dice_raw.csv")
    assert len(rows) == 2
    assert all(len(row) == CASES[bundle.name].labels + 2 for row in rows)
    summary = dict(line.split(",") for line in (root / "eval" / "metrics" / "metrics.csv").read_text().split())
    assert all(math.isfinite(float(value)) for value in summary.values())


def test_the_split_travels_with_the_results(root: Path) -> None:
    record = json.loads((root / "eval" / "provenance_grpo.json").read_text())
    assert len(record["settings"]["split"]["source"]) > 20


def array(image: Any) -> NDArray[Any]:
    return sitk.GetArrayFromImage(image)


def source(dataset_dir: str, folder: str, name: str) -> str:
    return str(Path(dataset_dir) / folder / f"{name}.nii.gz")


def names(path: Path, dataset_dir: str) -> tuple[str, str]:
    """Fixed and moving image of ``transform_FIXED_MOVING.h5``."""
    text = path.name.removeprefix("transform_").removesuffix(".h5")
    known = sorted(p.name.removesuffix(".nii.gz") for p in (Path(dataset_dir) / "imagesTr").glob("*.nii.gz"))
    short = {"_".join(name.split("_")[1:]): name for name in known}
    (pair,) = [(f, m) for a, f in short.items() for b, m in short.items() if text in (f"{a}_{b}", f"{f}_{m}")]
    return pair


def test_simpleitk_warps_labels_as_the_bundle_did(root: Path, bundle: Path, overrides: dict[str, Any]) -> None:
    """Also where the two patients' scans share no grid."""
    data = overrides["dataset_dir"]
    transforms = sorted((root / "eval" / "registered").glob("transform_*.h5"))
    assert len(transforms) == 2
    for path in transforms:
        fixed_name, moving_name = names(path, data)
        fixed = sitk.ReadImage(source(data, "imagesTr", fixed_name))
        moving = sitk.ReadImage(source(data, "labelsTr", moving_name))
        theirs = array(sitk.Resample(moving, fixed, sitk.ReadTransform(str(path)), sitk.sitkNearestNeighbor))
        ours = array(sitk.ReadImage(str(path).replace("transform_", "warped_label_").replace(".h5", ".nii.gz")))
        if bundle.name == "morphseek_abdomen_mr_ct":
            theirs = np.where(theirs > 4, 0, theirs)  # the bundle keeps four organs
        assert ours.shape == theirs.shape
        assert (ours > 0).any()
        assert (ours == theirs).mean() > 0.98  # rounding at half voxels, and beyond the moving image


OVERLAYS = sorted(path.name for path in (FOLDER / "common").glob("backbone_*.json"))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_one_overlay_changes_the_backbone(bundle: Path, overlay: str) -> None:
    parsers = []
    for name in ("train", "inference"):
        parser = ConfigParser()
        parser.read_config([bundle / "configs" / f"{name}.json", bundle / "configs" / overlay])
        parsers.append(parser)
    with torch.device("meta"):
        nets = [parser.get_parsed_content("network_def") for parser in parsers]
    wanted = parsers[0]["backbone"]["_target_"]
    module, _, name = wanted.rpartition(".")
    assert all(type(net.backbone) is getattr(importlib.import_module(module), name) for net in nets)
    shapes = [{key: value.shape for key, value in net.state_dict().items()} for net in nets]
    assert shapes[0] == shapes[1] and any(key.startswith("head.") for key in shapes[0])


def test_the_backbone_alone(
    bundle: Path, overrides: dict[str, Any], make_workflow: MakeWorkflow, tmp_path: Path
) -> None:
    """``policy=none`` leaves the authors' network: warm-up and soft Dice run, nothing of a policy is saved."""
    make_workflow(bundle, tmp_path, "train", policy="none", **overrides).run()
    saved = torch.load(tmp_path / "models" / "checkpoint_grpo.pt")["model"]
    assert saved and not [key for key in saved if not key.startswith("backbone.")]
    curves = table(tmp_path / "eval" / "curves.csv")
    assert "reward" not in curves[1] and float(curves[1]["dice"]) > 0.05
