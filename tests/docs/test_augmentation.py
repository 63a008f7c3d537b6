"""The augmentation of docs/own_data.md, built from the page by MONAI's parser on top of a bundle's config."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

from morphseek_monai.data import PairDataset
from morphseek_monai.fields import jacobian_determinant

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "own_data.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> Path:
    section = PAGE.split("\n## Augmentation\n")[1].split("\n## ")[0]
    (block,) = re.findall(r"^```json\n(.*?)^```$", section, re.M | re.S)
    path = tmp_path_factory.mktemp("overlay") / "augmentation.json"
    path.write_text(block, encoding="utf-8")
    return path


@pytest.fixture
def parser(overlay: Path, phantom: Path) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config([ROOT / "bundles" / "morphseek_phantom" / "configs" / "train.json", overlay])
    parser.update({"dataset_dir": str(phantom), "spatial_size": [32, 32, 32], "keys": ["image", "label"], "seed": 4})
    return parser


def test_the_bundle_trains_on_augmented_pairs(parser: ConfigParser) -> None:
    dataset = parser.get_parsed_content("train#dataset")
    assert isinstance(dataset, PairDataset) and dataset.pair_transform is not None
    plain = PairDataset(dataset.data, dataset.transform, mode="random", length=len(dataset), seed=dataset.seed)
    for epoch in (1, 2):
        dataset.set_epoch(epoch)
        plain.set_epoch(epoch)
        for i in range(4):
            before, after = plain[i], dataset[i]
            assert set(after) == set(before)
            assert type(after["image"]) is torch.Tensor and after["image"].dtype == torch.float32
            assert after["label"].dtype == before["label"].dtype
            assert set(after["label"].unique().tolist()) <= set(before["label"].unique().tolist())
            assert not torch.equal(after["image"], before["image"])
            assert float(after["image"].min()) >= 0 and float(after["image"].max()) <= 1
            assert torch.equal(after["image"], dataset[i]["image"])


def test_left_stays_left(parser: ConfigParser) -> None:
    dataset, pairs = parser.get_parsed_content("train#dataset"), parser.get_parsed_content("label_pairs")
    assert pairs
    for i in range(8):
        item = dataset[i]
        axis = int(np.argmax(np.abs(np.asarray(item["affine"])[0, :3])))
        sign = float(np.sign(item["affine"][0, axis]))
        for label in item["label"]:
            for left, right in pairs:
                places = [torch.nonzero(label == index)[:, axis].double().mean() for index in (left, right)]
                assert sign * float(places[0]) < sign * float(places[1])


def test_nothing_appears_around_a_stripped_head(parser: ConfigParser) -> None:
    transforms = parser["augmentation"]["transforms"]
    # all on, but for those that carry the image over its rim by right
    for step in [*transforms[:-1], *transforms[-1]["transform"]]:
        spreads = step["_target_"] in ("RandSmoothDeformd", "RandSimulateLowResolutiond")
        step |= {"prob": float(not spreads)} if "prob" in step else {}
    augment, dataset = parser.get_parsed_content("augmentation"), parser.get_parsed_content("train#dataset")
    dataset.pair_transform = None
    for seed in range(8):
        item = dataset[seed % 4]
        item["image"] = torch.where(item["label"] > 0, item["image"].clamp(min=0.2), 0.0)
        augment.set_random_state(seed)
        after = augment(item)
        assert float(after["image"][after["label"] == 0].abs().max()) == 0
        assert float(after["image"].std()) > 0 and not torch.equal(after["image"], item["image"])


@pytest.mark.parametrize(("of", "least", "most"), [("pair", 1.0, 3.0), ("image", 0.3, 1.0)])
def test_its_deformations_do_not_fold(of: str, least: float, most: float, overlay: Path) -> None:
    transforms: Any = json.loads(overlay.read_text())["augmentation"]["transforms"]
    shape = (40, 48, 56)
    steps = transforms if of == "pair" else transforms[-1]["transform"]
    (found,) = (step for step in steps if step["_target_"] == "RandSmoothDeformd")
    config = found | {"keys": ["image", "label"], "spatial_size": shape, "prob": 1.0}
    deform = ConfigParser({"deform": config}).get_parsed_content("deform")
    deform.set_random_state(0)
    half = (torch.tensor(shape) - 1).view(1, 3, 1, 1, 1) / 2
    for _ in range(5):
        deform.randomize()
        ddf = deform.trans.sfield()[None] * half
        assert float(jacobian_determinant(ddf).min()) > 0
        assert least < float(ddf.abs().max()) < most
