"""The bundle of atlas segmentation, as it ships: a tilted, shifted head of its own template gets its labels back."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow, ckpt_export, verify_net_in_out
from monai.transforms import LoadImaged, SaveImaged, ScaleIntensityRangePercentiles
from scipy.ndimage import affine_transform
from scipy.spatial.transform import Rotation
from torch import nn

import morphseek_monai
from morphseek_monai.metrics import hard_dice
from morphseek_monai.networks.weights import load_weights
from morphseek_monai.registration.atlas.subjects import atlas_preprocessing

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
BUNDLE = BUNDLES / "morphseek_brain_atlas_segmentation"
INFERENCE = str(BUNDLE / "configs" / "inference.json")
METADATA = str(BUNDLE / "configs" / "metadata.json")
ReadConfig = Callable[[Path, str], dict[str, Any]]


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """What ``models/model.pt`` holds."""
    content: dict[str, torch.Tensor] = torch.load(BUNDLE / "models" / "model.pt", weights_only=True)
    return content


@pytest.fixture(scope="module")
def head(state: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The template, nodding by 12 degrees and 6 cm off, on an oblique LAS grid of 1.8 x 2.2 x 2.5 mm."""
    template = np.diag([2.0, 2.0, 2.0, 1.0])
    template[:3, 3] = [-79, -95, -111]
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("xyz", (12, -4, 5), degrees=True).as_matrix()
    pose[:3, 3] = [20, -35, 45]
    shape = (100, 92, 84)
    grid = np.eye(4)
    grid[:3, :3] = Rotation.from_euler("z", 10, degrees=True).as_matrix() @ np.diag([-1.8, 2.2, 2.5])
    grid[:3, 3] = pose[:3, 3] - grid[:3, :3] @ ((np.array(shape) - 1) / 2)
    place = np.linalg.inv(pose @ template) @ grid
    folder = tmp_path_factory.mktemp("head")
    paths = {}
    for name, array, order in (
        ("image", 900 * state["atlas_image"][0, 0].numpy(), 1),
        ("label", state["atlas_labels"][0, 0].numpy(), 0),
    ):
        moved = affine_transform(array, place[:3, :3], place[:3, 3], shape, order=order)
        (folder / name).mkdir()
        paths[name] = str(folder / name / "head.nii.gz")
        nib.save(nib.Nifti1Image(moved.astype(np.int16), grid), paths[name])
    return paths


@pytest.fixture(scope="module")
def network() -> nn.Module:
    parser = ConfigParser()
    parser.read_config(INFERENCE)
    net: nn.Module = parser.get_parsed_content("network_def")
    load_weights(BUNDLE / "models" / "model.pt", net)
    return net.eval()


def labels_of(path: str) -> torch.Tensor:
    return torch.from_numpy(np.asarray(nib.load(path).dataobj).astype(np.int64))[None, None]


@pytest.mark.slow
def test_a_tilted_head_gets_its_labels(head: dict[str, str], tmp_path: Path) -> None:
    folders = {"dataset_dir": str(Path(head["image"]).parent), "label_dir": str(Path(head["label"]).parent)}
    workflow = ConfigWorkflow(
        [INFERENCE, str(BUNDLE / "configs" / "evaluate.json")],
        METADATA,
        logging_file=False,
        workflow_type="infer",
        bundle_root=str(BUNDLE),
        output_dir=str(tmp_path),
        device="$torch.device('cpu')",
        **folders,
    )
    workflow.initialize()
    assert workflow.check_properties() == []
    workflow.run()
    written, image = nib.load(tmp_path / "head_labels.nii.gz"), nib.load(head["image"])
    assert written.shape == image.shape and written.get_data_dtype() == np.uint8
    np.testing.assert_allclose(written.affine, image.affine, atol=1e-4)
    dice = hard_dice(labels_of(head["label"]), labels_of(str(tmp_path / "head_labels.nii.gz")), 32)[0]
    assert dice.nanmean() > 0.8
    with open(tmp_path / "metrics" / "val_mean_dice_raw.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert len(row) == 33 and float(row["mean"]) == pytest.approx(float(dice.nanmean()), abs=1e-4)


@pytest.mark.slow
def test_as_monai_label_runs_it(head: dict[str, str], network: nn.Module) -> None:
    """BundleInferTask of 0.8.5: transforms one by one, metadata and the path beside the image, no SaveImaged."""
    parser = ConfigParser()
    parser.read_config(INFERENCE)
    parser.config["bundle_root"] = str(BUNDLE)
    data: Any = {"image": head["image"], "image_path": head["image"], "model": BUNDLE.name, "device": "cpu"}
    for step in parser.get_parsed_content("preprocessing").transforms:
        if isinstance(step, LoadImaged):
            step._loader.image_only = False
        data = step(data)
    with torch.no_grad():
        data["pred"] = parser.get_parsed_content("inferer")(data["image"][None], network)[0]
    for step in parser.get_parsed_content("postprocessing").transforms:
        if not isinstance(step, SaveImaged):
            data = step(data)
    truth = labels_of(head["label"])
    assert data["pred"].shape == truth.shape[1:]
    dice = hard_dice(truth, torch.as_tensor(data["pred"])[None].long(), 32)
    assert dice.nanmean() > 0.8


def test_prepares_images_as_the_atlas_was_made(head: dict[str, str]) -> None:
    parser = ConfigParser()
    parser.read_config(INFERENCE)
    settings = {key: parser.get_parsed_content(key) for key in ("spacing", "spatial_size")}
    intensity = ScaleIntensityRangePercentiles(0, 99.5, 0, 1, clip=True)
    ours = atlas_preprocessing(settings["spacing"], settings["spatial_size"], "RAS", intensity)(head)["image"]
    theirs = parser.get_parsed_content("preprocessing")({"image": head["image"]})["image"]
    np.testing.assert_allclose(np.asarray(theirs), np.asarray(ours), atol=1e-4)


@pytest.mark.slow
def test_metadata_describes_the_network_and_it_compiles(tmp_path: Path, network: nn.Module) -> None:
    verify_net_in_out("network_def", METADATA, INFERENCE, device="cpu")
    weights, script = str(BUNDLE / "models" / "model.pt"), str(tmp_path / "model.ts")
    ckpt_export("network_def", script, weights, METADATA, INFERENCE)
    image = torch.rand(1, 1, 80, 96, 112, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.load(script)(image), network(image), rtol=1e-3, atol=1e-3)


def test_one_file_of_weights_and_atlas(state: dict[str, torch.Tensor], network: nn.Module) -> None:
    path = BUNDLE / "models" / "model.pt"
    assert path.stat().st_size < 20e6
    assert [file.name for file in path.parent.glob("*.pt")] == ["model.pt"]  # MONAI Label takes the shortest name
    assert network.load_state_dict(state, strict=True)
    total = state["atlas_probabilities"].sum(1)
    assert total.min() >= 253 and total.max() <= 257
    assert state["atlas_image"].min() >= 0 and state["atlas_image"].max() <= 1
    assert sorted(state["atlas_labels"][:, 0].unique().tolist()) == list(range(32))


def test_the_network_is_that_of_the_registration_bundle(
    state: dict[str, torch.Tensor], read_config: ReadConfig
) -> None:
    source = BUNDLES / "morphseek_brain_mri_oasis"
    weights = source / "models" / "model.pt"
    for name, value in torch.load(weights, weights_only=True).items():
        assert torch.equal(state[f"registration.registration.{name}"], value)
    own, theirs = read_config(BUNDLE, "inference"), read_config(source, "inference")
    assert own["registration"]["backbone"] == theirs["backbone"]
    assert {key: own["registration"][key] for key in ("steps", "scales")} == {
        key: theirs[key] for key in ("steps", "scales")
    }
    record = json.loads((BUNDLE / "models" / "model.json").read_text())["settings"]
    assert record["registration"]["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert record["spacing"] == own["spacing"] and record["size"] == own["spatial_size"]
    assert len(record["subjects"]) == 12 and not any("001" + last in str(record["subjects"]) for last in "345")


def test_names_and_sizes_agree(read_config: ReadConfig) -> None:
    metadata, inference = read_config(BUNDLE, "metadata"), read_config(BUNDLE, "inference")
    data = metadata["network_data_format"]
    image, pred = data["inputs"]["image"], data["outputs"]["pred"]
    assert image["num_channels"] == 1 and image["spatial_shape"] == pred["spatial_shape"] == inference["spatial_size"]
    assert pred["num_channels"] == inference["num_labels"] == len(pred["channel_def"]) == 32
    assert pred["channel_def"]["0"] == "background"
    record = json.loads((BUNDLE / "models" / "model.json").read_text())["settings"]
    assert pred["channel_def"] == record["label_names"] and record["top_k"] == inference["top_k"]


def test_files_and_version(read_config: ReadConfig) -> None:
    for source, copy in (("LICENSE", "LICENSE"), ("logging.conf", "configs/logging.conf")):
        assert (BUNDLE / copy).read_bytes() == (BUNDLES / "common" / source).read_bytes()
    metadata = read_config(BUNDLE, "metadata")
    assert metadata["version"] == morphseek_monai.__version__ and metadata["version"] in metadata["changelog"]
    assert not (BUNDLE / "configs" / "train.json").exists()
