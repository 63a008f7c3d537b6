"""What the abdomen bundle asks of data, losses and metrics together: MR fixed, CT moving, masks, four organs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.bundle import ConfigParser
from monai.data import DataLoader, decollate_batch

from morphseek_monai.data import PairDataset, training_subjects, validation_pairs, write_phantom
from morphseek_monai.fields import sdlogj_l2r, warp_labels
from morphseek_monai.losses import MINDSSCLoss, MorphSeekLoss
from morphseek_monai.metrics import hard_dice

CONFIGS = Path(__file__).resolve().parents[2] / "bundles" / "morphseek_abdomen_mr_ct" / "configs"
KEYS = ["image", "label", "mask"]


@pytest.fixture(scope="module")
def torso(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("torso")
    write_phantom(folder, "torso", subjects=4, shape=(32, 32, 32))
    return folder


def parse(torso: Path, **overrides: Any) -> ConfigParser:
    """The bundle's own config for evaluation, which holds that for training, on the phantom's patients."""
    parser = ConfigParser()
    parser.read_config([CONFIGS / "train.json", CONFIGS / "evaluate.json"])
    parser.update({"dataset_dir": str(torso), "train#dataset#relation": "within", "pairs_per_epoch": 3, **overrides})
    return parser


def test_preprocessing_is_built_without_data() -> None:
    assert len(parse(Path("nowhere")).get_parsed_content("train#preprocessing").transforms) == 4


def test_pairs_are_mr_fixed_and_ct_moving_of_one_person(torso: Path) -> None:
    dataset = parse(torso).get_parsed_content("train#dataset")
    for item in dataset:
        assert (item["fixed_id"][-4:], item["moving_id"][-4:]) == ("0000", "0001")
        assert item["fixed_id"][:-4] == item["moving_id"][:-4]
        assert item["image"].shape == item["label"].shape == item["mask"].shape == (2, 32, 32, 32)
        assert float(item["image"].min()) >= 0 and float(item["image"].max()) <= 1
        for channel in (0, 1):
            assert item["label"][channel].unique().tolist() == [0, 1, 2, 3, 4]
            assert set(item["mask"][channel].unique().tolist()) == {0, 1}
            assert bool(item["mask"][channel][item["label"][channel] > 0].all())


def test_unpaired_people_join_with_relation_both(torso: Path) -> None:
    counts = {}
    for relation in ("within", "both"):
        dataset = PairDataset(training_subjects(torso), relation=relation, modalities=("0000", "0001"))
        counts[relation] = len(dataset)
    assert counts == {"within": 3, "both": 9}


def test_all_six_labels_of_the_phantom_without_selection(torso: Path) -> None:
    dataset = parse(torso, **{"normalise#transforms#0#labels": [1, 2, 3, 4, 5, 6]}).get_parsed_content("train#dataset")
    assert dataset[0]["label"].unique().tolist() == list(range(7))


def test_window_of_the_ct_is_in_hounsfield_units(torso: Path) -> None:
    """Liver at about 115 HU; MR has no such anchor."""
    item = parse(torso).get_parsed_content("train#dataset")[0]
    liver = item["image"][0][item["label"][0] == 1].median()
    assert float(liver) == pytest.approx((115 + 1000) / 2000, abs=0.01)


def test_loss_looks_inside_the_masks_only(torso: Path) -> None:
    parser = parse(torso)
    batch = next(iter(DataLoader(parser.get_parsed_content("train#dataset"), batch_size=1)))
    loss = parser.get_parsed_content("loss")
    assert isinstance(loss, MorphSeekLoss) and isinstance(loss.warmup.similarity, MINDSSCLoss)
    image, label, mask = (batch[key] for key in KEYS)
    ddf = torch.zeros(1, 3, 32, 32, 32, requires_grad=True)
    terms = loss(image, label, ddf, None, mask=mask)
    moving, fixed = loss.warmup.similarity.describe(image[:, :1]), loss.warmup.similarity.describe(image[:, 1:])
    inside = (mask[:, :1] * mask[:, 1:]).bool()
    assert 0.1 < float(inside.float().mean()) < 0.9
    expected = (moving - fixed).square().mean(dim=1, keepdim=True)[inside].mean()
    torch.testing.assert_close(terms.similarity, expected)
    terms.total.backward()
    assert ddf.grad is not None and ddf.grad.isfinite().all() and ddf.grad.any()


def test_descending_the_masked_loss_aligns_the_organs(torso: Path) -> None:
    """Straight descent on a smooth field: MIND between MR and CT inside the masks has to raise the Dice."""
    parser = parse(torso)
    item = parser.get_parsed_content("validate#dataset")[0]
    image, label, mask = (item[key][None] for key in KEYS)
    loss = parser.get_parsed_content("loss").warmup
    coarse = torch.zeros(1, 3, 8, 8, 8, requires_grad=True)
    optimizer = torch.optim.Adam([coarse], lr=0.1)
    for _ in range(15):
        ddf = torch.nn.functional.interpolate(coarse, size=(32, 32, 32), mode="trilinear", align_corners=True)
        terms = loss(image[:, :1], image[:, 1:], ddf, None, mask=mask)
        optimizer.zero_grad()
        terms.total.backward()
        optimizer.step()
    before, after = (overlap(label, field) for field in (torch.zeros_like(ddf), ddf.detach()))
    assert after > before + 0.05


def overlap(label: torch.Tensor, ddf: torch.Tensor) -> float:
    warped, fixed = warp_labels(label[:, :1], ddf), label[:, 1:]
    return float(hard_dice(fixed, warped, num_labels=5).mean())


def test_evaluation_reports_dice_and_the_masked_spread(torso: Path) -> None:
    parser = parse(torso)
    batches = DataLoader(parser.get_parsed_content("validate#dataset"), batch_size=1)
    field = torch.randn(1, 3, 32, 32, 32, generator=torch.Generator().manual_seed(0))
    engine = Engine(lambda _, batch: decollate_batch({**{k: batch[k] for k in ("label", "mask")}, "pred": field}))
    handlers = parser.get_parsed_content("validate#key_metric") | {
        "val_sdlogj_l2r": parser.get_parsed_content("validate#additional_metrics#val_sdlogj_l2r")
    }
    for name, handler in handlers.items():
        handler.attach(engine, name)
    engine.run(batches)
    pairs = list(parser.get_parsed_content("validate#dataset"))
    assert len(pairs) == len(validation_pairs(torso)) == 1
    expected = [float(sdlogj_l2r(field, item["mask"][None, 1:])) for item in pairs]
    assert engine.state.metrics["val_sdlogj_l2r"] == pytest.approx(np.mean(expected))
    assert engine.state.metrics["val_sdlogj_l2r"] != pytest.approx(float(sdlogj_l2r(field)))
    assert engine.state.metric_details["val_mean_dice"].shape == (1, 4)
    assert 0 < engine.state.metrics["val_mean_dice"] < 1
