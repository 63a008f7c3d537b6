"""``morphseek build-atlas`` on phantoms, with a small network of its own bundle."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from morphseek_monai.apps.build_atlas import build_atlas
from morphseek_monai.base.errors import DataError
from morphseek_monai.data import write_phantom
from morphseek_monai.networks import AffineFirst, AtlasSegmenter, MorphSeekNet

MakeNet = Callable[..., MorphSeekNet]
SIZE = [32, 32, 32]
ONE = "PhantomBrain_0001_0000"  # of the subjects
BACKBONE = {
    "_target_": "morphseek_monai.networks.VoxelMorph",
    "encoder": [4, 8],
    "decoder": [8, 8],
    "extras": [4],
    "integration_steps": 2,
}
REGISTER = {
    "size": "@spatial_size",
    "voxels": 85,
    "orientation": "RAS",
    "mirror_axis": 0,
    "intensity": {
        "mr": {
            "_target_": "ScaleIntensityRangePercentiles",
            "lower": 0.0,
            "upper": 99.5,
            "b_min": 0.0,
            "b_max": 1.0,
            "clip": True,
        }
    },
    "thresholds": {},
}


def write_bundle(folder: Path, net: MorphSeekNet) -> str:
    """A registration bundle as far as building an atlas needs one."""
    network = {"_target_": "morphseek_monai.networks.MorphSeekNet", "backbone": BACKBONE, "steps": 1}
    configs = {
        "inference": {"bundle_root": ".", "spatial_size": SIZE, "network_def": network},
        "register": {"register": REGISTER},
        "metadata": {"version": "1.2.3"},
    }
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    for name, content in configs.items():
        (folder / "configs" / f"{name}.json").write_text(json.dumps(content))
    torch.save(net.state_dict(), folder / "models" / "model.pt")
    return str(folder)


@pytest.fixture
def bundle(tmp_path: Path, make_net: MakeNet) -> str:
    """Its network moves by tenths of voxels."""
    return write_bundle(tmp_path / "small_registration", make_net(flow_std=0.05))


@pytest.fixture(scope="module")
def subjects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three subjects to train; nothing can be read of the two held out."""
    folder = tmp_path_factory.mktemp("subjects") / "phantom"
    write_phantom(folder, subjects=5, shape=(32, 32, 32), validation=2)
    held_out = json.loads(next(folder.glob("*_dataset.json")).read_text())["registration_val"]
    for image in {pair[end] for pair in held_out for end in ("fixed", "moving")}:
        for name in (image, image.replace("images", "labels")):
            (folder / name).write_bytes(b"not for this")
    return folder


@pytest.fixture
def dataset(subjects: Path, tmp_path: Path) -> str:
    """A copy of them, to be changed."""
    return str(shutil.copytree(subjects, tmp_path / "phantom"))


def array(path: Path) -> Any:
    return np.asanyarray(nib.load(path).dataobj)


def test_files(dataset: str, bundle: str, tmp_path: Path) -> None:
    out = tmp_path / "atlas"
    said = build_atlas(dataset, bundle, str(out), iterations=1)
    assert said.startswith(f"{out}: 3 subjects, mean displacement ") and said.endswith(" mm")
    assert {path.name for path in out.iterdir()} == {
        "template.nii.gz",
        "labels.nii.gz",
        "probabilities.nii.gz",
        "probability_labels.nii.gz",
        "atlas.json",
        "model.pt",
    }
    template = nib.load(out / "template.nii.gz")
    np.testing.assert_allclose(template.affine[:3, :3], 2 * np.eye(3))
    np.testing.assert_allclose(template.affine @ [15.5, 15.5, 15.5, 1], [0, 0, 0, 1])
    labels, probabilities = array(out / "probability_labels.nii.gz"), array(out / "probabilities.nii.gz")
    assert labels.dtype == probabilities.dtype == np.uint8
    assert labels.shape == probabilities.shape == (32, 32, 32, 4)
    np.testing.assert_array_equal(array(out / "labels.nii.gz"), labels[..., 0])
    assert len(np.unique(labels[..., 0])) > 8


def test_record(dataset: str, bundle: str, tmp_path: Path) -> None:
    build_atlas(dataset, bundle, str(tmp_path / "atlas"), iterations=2)
    record = json.loads((tmp_path / "atlas" / "atlas.json").read_text())
    settings = record["settings"]
    assert len(settings["subjects"]) == 3 and len(settings["mean_displacement_mm"]) == 3
    assert settings["num_labels"] == 13 and settings["label_names"]["0"] == "background"
    weights = (Path(bundle) / "models" / "model.pt").read_bytes()
    assert settings["registration"] == {
        "name": "small_registration",
        "version": "1.2.3",
        "sha256": hashlib.sha256(weights).hexdigest(),
    }
    assert record["packages"]["torch"] == torch.__version__


def test_model_is_a_segmenter(dataset: str, bundle: str, tmp_path: Path, make_net: MakeNet) -> None:
    out = tmp_path / "atlas"
    build_atlas(dataset, bundle, str(out), iterations=1, top_k=2)
    segmenter = AtlasSegmenter(AffineFirst(make_net(seed=3)), SIZE, 13, top_k=2).eval()
    segmenter.load_state_dict(torch.load(out / "model.pt", weights_only=True), strict=True)
    np.testing.assert_array_equal(segmenter.atlas_image[0, 0].numpy(), array(out / "template.nii.gz"))
    clear = (segmenter.atlas_probabilities[:, 0] > segmenter.atlas_probabilities[:, 1])[0].numpy()
    best = segmenter.dense_labels(0, 13).argmax(1)[0].numpy()
    np.testing.assert_array_equal(best[clear], array(out / "labels.nii.gz")[clear])
    with torch.no_grad():
        found = segmenter(segmenter.atlas_image).argmax(1)
    assert (found == segmenter.atlas_labels[:, 0]).float().mean() > 0.5


def test_the_same_again(dataset: str, bundle: str, tmp_path: Path) -> None:
    for name in ("one", "two"):
        build_atlas(dataset, bundle, str(tmp_path / name), iterations=1)
    for file in ("template", "probabilities", "probability_labels"):
        np.testing.assert_array_equal(*(array(tmp_path / name / f"{file}.nii.gz") for name in ("one", "two")))


def test_subjects_by_name(dataset: str, bundle: str, tmp_path: Path) -> None:
    names = sorted(path.name.removesuffix(".nii.gz") for path in (Path(dataset) / "imagesTr").iterdir())
    build_atlas(dataset, bundle, str(tmp_path / "atlas"), iterations=1, subjects=names[:1])
    record = json.loads((tmp_path / "atlas" / "atlas.json").read_text())
    assert record["settings"]["subjects"] == names[:1]
    with pytest.raises(DataError, match=f"--subjects names {names[-1]}, which is no labelled training subject"):
        build_atlas(dataset, bundle, str(tmp_path / "other"), subjects=names[-1])


def test_keeps_an_atlas_that_is_there(dataset: str, bundle: str, tmp_path: Path) -> None:
    (tmp_path / "atlas.json").write_text("{}")
    with pytest.raises(DataError, match="holds an atlas already; give another --out, or --overwrite True"):
        build_atlas(dataset, bundle, str(tmp_path))
    build_atlas(dataset, bundle, str(tmp_path), iterations=1, subjects=ONE, overwrite=True)
    assert "settings" in json.loads((tmp_path / "atlas.json").read_text())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_labels": 5}, r"label .* has id \d+, but the atlas takes 0 to 4; give --num_labels"),
        ({"num_labels": 300}, "--num_labels must be a whole number from 2 to 256, got 300"),
        ({"iterations": 0}, "--iterations must be a whole number of at least 1, got 0"),
        ({"iterations": True}, "--iterations must be a whole number of at least 1, got True"),
        ({"top_k": 0}, "--top_k must be a whole number of at least 1, got 0"),
        ({"modality": "ct"}, r"--modality must be one of \['mr'\], got 'ct'"),
        ({"layout": "bids"}, "--layout must be auto or one of .*, got 'bids'"),
        ({"spacing": [1, 2]}, r"--spacing must be one or three sizes in mm, got \[1, 2\]"),
        ({"spacing": 0}, "--spacing must be one or three sizes in mm, got 0"),
    ],
)
def test_refuses(dataset: str, bundle: str, tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        build_atlas(dataset, bundle, str(tmp_path / "atlas"), **arguments)
    assert not (tmp_path / "atlas" / "atlas.json").exists()


def test_voxel_size(dataset: str, bundle: str, tmp_path: Path) -> None:
    build_atlas(dataset, bundle, str(tmp_path / "atlas"), iterations=1, subjects=ONE, spacing=3)
    np.testing.assert_allclose(nib.load(tmp_path / "atlas" / "template.nii.gz").affine[:3, :3], 3 * np.eye(3))


def test_label_names_may_be_missing(dataset: str, bundle: str, tmp_path: Path) -> None:
    path = next(Path(dataset).glob("*_dataset.json"))
    path.write_text(json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != "labels"}))
    with pytest.raises(DataError, match="the data set does not name its labels; give --num_labels"):
        build_atlas(dataset, bundle, str(tmp_path / "atlas"))
    build_atlas(dataset, bundle, str(tmp_path / "atlas"), iterations=1, subjects=ONE, num_labels=13, top_k=20)
    assert nib.load(tmp_path / "atlas" / "probabilities.nii.gz").shape == (32, 32, 32, 13)  # there are no more


def test_labels_must_be_there(dataset: str, bundle: str, tmp_path: Path) -> None:
    path = next(Path(dataset).glob("*_dataset.json"))
    content = json.loads(path.read_text())
    for entry in content["training"]:
        entry.pop("label")
    path.write_text(json.dumps(content))
    for label in (Path(dataset) / "labelsTr").iterdir():
        label.unlink()
    with pytest.raises(DataError, match="no training subject has a label; an atlas needs label maps"):
        build_atlas(dataset, bundle, str(tmp_path / "atlas"))
