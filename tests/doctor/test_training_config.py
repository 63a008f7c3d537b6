from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from morphseek_monai.data import DataError, write_phantom
from morphseek_monai.doctor.grid_rules import Unified
from morphseek_monai.doctor.training_config import TrainingConfig, read_config

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
PHANTOM = str(BUNDLES / "morphseek_phantom" / "configs" / "train.json")


def config(**overrides: Any) -> TrainingConfig:
    return TrainingConfig([PHANTOM], overrides)


def test_lists_are_those_of_the_config(tmp_path: Path) -> None:
    write_phantom(tmp_path, subjects=5, shape=(16, 16, 16), validation=2)
    listing = config(dataset_dir=str(tmp_path)).listing()
    assert [side for _, side in listing.subjects] == [("training",)] * 3 + [("validation",)] * 2
    assert len(listing.validation) == 2 and listing.errors == []


def test_iterations_follow_epochs_batches_and_phase() -> None:
    values = {"pairs_per_epoch": 5, "batch_size": 2, "warmup_epochs": 3, "epochs": 4}
    assert config(**values).iterations(9) == {"warmup": 9, "grpo": 12}
    assert config(**values, phase="warmup").iterations(9) == {"warmup": 9}
    assert config(**{**values, "pairs_per_epoch": None}).iterations(8) == {"warmup": 12, "grpo": 16}


def test_size_is_the_configs_or_that_of_the_data() -> None:
    assert config().size((10, 11, 12)) == (10, 11, 12)
    assert config(spatial_size=[8, 9, 10]).size((10, 11, 12)) == (8, 9, 10)


def test_what_the_preprocessing_unifies(tmp_path: Path) -> None:
    assert config().unified(shape=True) == Unified(shape=True) and not config().maps_labels
    content = json.loads(Path(PHANTOM).read_text())
    content["validate"]["preprocessing"] = {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "image", "ensure_channel_first": True},
            {
                "_target_": "Compose",
                "transforms": [{"_target_": "Orientationd", "keys": "image", "axcodes": "RAS", "labels": None}],
            },
            {"_target_": "Spacingd", "keys": "image", "pixdim": [1, 1, 1]},
        ],
    }
    path = tmp_path / "configs" / "train.json"
    path.parent.mkdir()
    path.write_text(json.dumps(content))
    changed = TrainingConfig([str(path)], {})
    assert changed.unified(shape=False) == Unified(False, True, True)
    assert changed.get("bundle_root") == str(tmp_path)


def test_an_id_that_is_null_is_an_id() -> None:
    assert config(init_weights="w.pt").get("init_weights") == "w.pt"
    assert config().get("train#dataset#nothing", 5) == 5


def test_unknown_ids_and_broken_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--spatial_sizes is no option, and no id of config"):
        config(spatial_sizes=[8, 8, 8])
    with pytest.raises(DataError, match="does not exist"):
        read_config([str(tmp_path / "none.json")], {})
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(DataError, match="is not valid"):
        read_config([str(tmp_path / "a.json")], {})


def test_pairs_are_those_of_the_configs_relation(tmp_path: Path) -> None:
    write_phantom(tmp_path, kind="torso", subjects=4, shape=(16, 16, 16), validation=1)
    folder, people, kinds = {"dataset_dir": str(tmp_path)}, list("aabbcc"), ["0000", "0001"] * 3
    assert config(**folder).judge_pairs(people, kinds).what == "24 training pairs of different people"
    within = {"train#dataset#relation": "within", "train#dataset#modalities": ["0000", "0001"]}
    finding = config(**folder, **within).judge_pairs(people, kinds)
    assert finding.what == "3 training pairs of one person, fixed 0000, moving 0001"
    finding = config(**folder, **within).judge_pairs(people, ["0000"] * 6)
    assert finding.level == "ERROR" and "make no pair with relation 'within'" in finding.what
    listed = {"train#dataset#data": "$ms_data.training_pairs(@dataset_dir)"}
    assert config(**folder, **listed).judge_pairs([], []).what == "3 training pairs, as listed"
