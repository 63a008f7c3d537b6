"""What the universal bundle asks of its sources together: any may be missing, each gives a pair that can be learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import DataLoader

from morphseek_monai.data import check_disjoint, write_phantom

CONFIGS = Path(__file__).resolve().parents[2] / "bundles" / "morphseek_any" / "configs"
SOURCES = ["shapes", "torsos", "brains", "crops", "heads"]


def save(folder: Path, name: str, spacing: float, labels: int, centre: float) -> None:
    """A ball of ``labels`` shells around ``centre``, a share of the axis, in noise."""
    rng = np.random.default_rng(len(name))
    size = (26, 30, 22)
    points = np.moveaxis(np.indices(size), 0, -1) / np.array(size) - centre
    radius = np.linalg.norm(points, axis=-1) / 0.35
    label = np.where(radius < 1, 1 + (radius * labels).astype(int).clip(0, labels - 1), 0).astype(np.uint8)
    image = (label * 20 + rng.uniform(0, 10, size)).astype(np.float32)
    for kind, array in (("images", image), ("labels", label)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(array, np.diag([-spacing, spacing, spacing, 1])), folder / kind / f"{name}.nii.gz")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for kind in ("brain", "torso"):
        write_phantom(folder / kind, kind, subjects=4, shape=(16, 16, 16), validation=2)
    for i in range(62):
        save(folder / "crops", f"crop_{i:03d}_0000", 1.0, 2, 0.4 + 0.003 * i)
    for i in range(2):
        save(folder / "heads", f"HEAD_000{i}_0000", 4.0, 17, 0.5)
        save(folder / "others", f"OTHER_000{i}_0000", 4.0, 17, 0.45)
    return folder


def parse(data: Path, **overrides: Any) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config(CONFIGS / "train.json")
    crops = [["crop_060_0000", "crop_061_0000"]]
    heads = [["OTHER_0000_0000", "OTHER_0001_0000"]]
    everything = {
        "dataset_dir": str(data / "brain"),
        "torso_dir": str(data / "torso"),
        "crops_dir": str(data / "crops"),
        "heads_dir": str(data / "heads"),
        "validation_heads_dir": str(data / "others"),
        "crop_pairs": crops,
        "head_pairs": heads,
        "grid": [16, 16, 16],
        "pairs_per_epoch": 4,
    }
    parser.update({**everything, **overrides})
    return parser


def test_every_source_gives_pairs_to_learn_from(data: Path) -> None:
    mixed = parse(data).get_parsed_content("train#dataset")
    assert len(mixed.datasets) == len(SOURCES)
    for name, dataset in zip(SOURCES, mixed.datasets):
        for item in dataset:
            image, label = item["image"], item["label"]
            assert image.shape == label.shape and image.dtype == torch.float32 and item["labelled"], name
            assert 0 <= float(image.min()) < 0.01 and 0.99 < float(image.max()) <= 1, name
            assert bool(image.isfinite().all()) and bool(image.flatten(1).std(1).min() > 0.01), name
            assert set(label[0].unique().tolist()) & set(label[1].unique().tolist()) - {0}, name
            assert not torch.equal(label[0], label[1]), name


def test_unreliable_labels_of_heads_are_left_out(data: Path) -> None:
    heads = parse(data).get_parsed_content("train#dataset").datasets[-1]
    volume = heads._volume(0)
    assert volume.image.shape == (1, 48, 64, 48) and int(volume.label.max()) == 11
    assert volume.label[0, 20:28, 28:36, 20:28].any()  # centred on what is labelled


def test_crops_are_centred_and_those_of_validation_are_not_trained_on(data: Path) -> None:
    parser = parse(data)
    training, validation = (parser.get_parsed_content(f"{part}#dataset") for part in ("train", "validate"))
    check_disjoint(training.data, validation.data)
    crops = training.datasets[SOURCES.index("crops")]
    assert [subject["id"] for subject in crops.images] == [f"crop_{i:03d}_0000" for i in range(60)]
    for index in (0, 59):
        ends = crops._volume(index).label[0].nonzero()
        middle = (ends.amin(0) + ends.amax(0)) / 2 - torch.tensor([23.5, 31.5, 23.5])
        assert float(middle.abs().max()) < 4


@pytest.mark.parametrize("missing", [("torso_dir",), ("crops_dir", "heads_dir", "validation_heads_dir", "torso_dir")])
def test_any_source_may_be_missing(data: Path, missing: tuple[str, ...]) -> None:
    parser = parse(data, **dict.fromkeys(missing))
    training, validation = (parser.get_parsed_content(f"{part}#dataset") for part in ("train", "validate"))
    assert len(training.datasets) == {1: 4, 4: 2}[len(missing)]
    assert [len(dataset) for dataset in validation.datasets] == [2, 2, 1, 1][: {1: 4, 4: 2}[len(missing)]]


def test_validation_in_unlike_contrasts_is_the_same_every_time(data: Path) -> None:
    plain, unlike = parse(data).get_parsed_content("validate#dataset").datasets[:2]
    assert torch.equal(plain[0]["label"], unlike[0]["label"])
    assert not torch.equal(plain[0]["image"], unlike[0]["image"])
    again = parse(data).get_parsed_content("validate#dataset").datasets[1]
    assert torch.equal(unlike[1]["image"], again[1]["image"])


def test_the_warm_up_learns_from_labels_and_draws_no_trajectory(data: Path) -> None:
    parser = parse(data, device="$torch.device('cpu')")
    objective = parser.get_parsed_content("warmup#objective")
    batch = next(iter(DataLoader(parser.get_parsed_content("train#dataset"), batch_size=1)))
    ddf = torch.zeros(1, 3, *batch["image"].shape[2:], requires_grad=True)
    terms = objective(batch["image"], batch["label"], ddf, None)
    terms.total.backward()
    dice, similarity, policy = (float(x.detach()) for x in (terms.dice, terms.similarity, terms.policy))
    assert dice > 0.05 and similarity > 0 and policy == 0
    assert ddf.grad is not None and ddf.grad.isfinite().all() and ddf.grad.any()


def test_brains_follow_the_data_that_other_tools_give(data: Path) -> None:
    """MONAI Label and MonaiAlgo replace ``train#dataset#data``."""
    names = [str(data / "brain" / "imagesTr" / f"PhantomBrain_000{i}_0000.nii.gz") for i in (1, 2)]
    given = [{"image": name, "label": name.replace("images", "labels")} for name in names]
    mixed = parse(data, **{"train#dataset#data": given}).get_parsed_content("train#dataset")
    assert mixed.datasets[SOURCES.index("brains")].images == given
