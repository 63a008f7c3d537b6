from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser

from morphseek_monai.data import (
    DataError,
    PairDataset,
    check_disjoint,
    find_dataset_json,
    label_names,
    training_pairs,
    training_subjects,
    validation_pairs,
    write_dataset_json,
)

BRAINS = os.environ.get("MORPHSEEK_BRAINS", "")


def make(folder: Path, task: str, scans: list[str], content: dict[str, Any], masks: bool = False) -> Path:
    for scan in scans:
        for place in ["imagesTr", "labelsTr", *(["masksTr"] if masks else [])]:
            (folder / place).mkdir(exist_ok=True, parents=True)
            (folder / place / f"{task}_{scan}.nii.gz").write_bytes(scan.encode())
    (folder / f"{task}_dataset.json").write_text(json.dumps(content))
    return folder


def image(task: str, scan: str) -> str:
    return f"./imagesTr/{task}_{scan}.nii.gz"


@pytest.fixture
def oasis(tmp_path: Path) -> Path:
    scans = [f"000{i}_0000" for i in range(1, 6)]
    return make(
        tmp_path / "OASIS",
        "OASIS",
        scans,
        {
            "training": [
                {"image": image("OASIS", s), "label": image("OASIS", s).replace("images", "labels")}
                for s in scans
            ],
            "registration_val": [{"fixed": image("OASIS", scans[3]), "moving": image("OASIS", scans[4])}],
            "labels": {"0": {"0": "background", "1": "left", "2": "right"}},
        },
    )


@pytest.fixture
def mrct(tmp_path: Path) -> Path:
    scans = [f"000{i}_000{m}" for i in range(1, 5) for m in range(2)] + ["0020_0000"]
    paired = [
        {"fixed": image("AbdomenMRCT", f"000{i}_0000"), "moving": image("AbdomenMRCT", f"000{i}_0001")}
        for i in range(1, 5)
    ]
    training = [
        {
            "image": image("AbdomenMRCT", s),
            **{k: image("AbdomenMRCT", s).replace("images", f"{k}s") for k in ("label", "mask")},
        }
        for s in scans
    ]
    content = {"training": training, "training_paired_images": paired, "registration_val": paired[3:]}
    return make(tmp_path / "MRCT", "AbdomenMRCT", scans, content, masks=True)


def test_oasis_layout(oasis: Path) -> None:
    subjects = training_subjects(oasis)
    assert [s["id"] for s in subjects] == ["OASIS_0001_0000", "OASIS_0002_0000", "OASIS_0003_0000"]
    assert subjects[0] == {
        "image": str(oasis / "imagesTr/OASIS_0001_0000.nii.gz"),
        "label": str(oasis / "labelsTr/OASIS_0001_0000.nii.gz"),
        "id": "OASIS_0001_0000",
        "subject": "OASIS_0001",
        "modality": "0000",
    }
    (pair,) = validation_pairs(oasis)
    assert pair["fixed"]["id"] == "OASIS_0004_0000" and pair["moving"]["id"] == "OASIS_0005_0000"
    assert pair["moving"]["label"] == str(oasis / "labelsTr/OASIS_0005_0000.nii.gz")
    assert label_names(oasis) == {0: "background", 1: "left", 2: "right"}
    check_disjoint(subjects, validation_pairs(oasis))


def test_mrct_layout(mrct: Path) -> None:
    subjects = training_subjects(mrct)
    assert len(subjects) == 7 and "AbdomenMRCT_0004" not in {s["subject"] for s in subjects}
    assert {s["modality"] for s in subjects} == {"0000", "0001"}
    assert subjects[1]["mask"] == str(mrct / "masksTr/AbdomenMRCT_0001_0001.nii.gz")
    pairs = training_pairs(mrct)
    assert [(p["fixed"]["id"][-9:], p["moving"]["id"][-9:]) for p in pairs] == [
        (f"000{i}_0000", f"000{i}_0001") for i in range(1, 4)
    ]
    assert validation_pairs(mrct)[0]["fixed"]["mask"].endswith("masksTr/AbdomenMRCT_0004_0000.nii.gz")


def test_validation_scan_under_another_name_is_a_leak(oasis: Path) -> None:
    copy = oasis / "imagesTr" / "OASIS_0001_0000.nii.gz"
    copy.unlink()
    copy.symlink_to(oasis / "imagesTr" / "OASIS_0005_0000.nii.gz")
    with pytest.raises(DataError, match="is in training .* and in validation"):
        training_subjects(oasis)


def edit(folder: Path, **changes: Any) -> None:
    path = find_dataset_json(folder)
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_missing_parts_are_named(oasis: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"dataset_dir .*nowhere does not exist; give the folder"):
        training_subjects(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no 'training_paired_images' without"):
        training_pairs(oasis)
    (oasis / "labelsTr" / "OASIS_0002_0000.nii.gz").unlink()
    with pytest.raises(DataError, match=r"label .*labelsTr/OASIS_0002_0000\.nii\.gz does not exist"):
        training_subjects(oasis)
    edit(oasis, training=json.loads(find_dataset_json(oasis).read_text())["training"][3:])
    with pytest.raises(DataError, match="leaves no training subject"):
        training_subjects(oasis)
    edit(oasis, registration_val=[], labels={})
    with pytest.raises(DataError, match="has no 'registration_val' pairs"):
        validation_pairs(oasis)
    with pytest.raises(DataError, match="has no 'labels'"):
        label_names(oasis)


def test_json_is_found_named_or_refused(oasis: Path) -> None:
    assert find_dataset_json(oasis) == oasis / "OASIS_dataset.json"
    (oasis / "OTHER_dataset.json").write_text("[]")
    with pytest.raises(
        DataError, match="must hold one .*, found OASIS_dataset.json, OTHER_dataset.json; name it"
    ):
        training_subjects(oasis)
    assert len(training_subjects(oasis, "OASIS_dataset.json")) == 3
    with pytest.raises(DataError, match="must hold a JSON object, got a list"):
        training_subjects(oasis, "OTHER_dataset.json")
    (oasis / "OTHER_dataset.json").write_text("{")
    with pytest.raises(DataError, match=r"OTHER_dataset\.json is not valid JSON"):
        training_subjects(oasis, "OTHER_dataset.json")


def test_written_json_is_read_back(tmp_path: Path) -> None:
    scans = ["0001_0000", "0002_0000", "0003_0000"]
    folder = make(tmp_path / "T", "T", scans, {})
    write_dataset_json(
        folder / "T_dataset.json",
        name="T",
        shape=(4, 5, 6),
        modality={"0": "MR"},
        labels={0: "background", 7: "seven"},
        training=[{"image": image("T", s)} for s in scans],
        registration_val=[{"fixed": image("T", scans[1]), "moving": image("T", scans[2])}],
    )
    assert [s["id"] for s in training_subjects(folder)] == ["T_0001_0000"]
    assert "label" in training_subjects(folder)[0]  # derived from the image's name
    assert label_names(folder) == {0: "background", 7: "seven"}
    content = json.loads((folder / "T_dataset.json").read_text())
    assert (content["numTraining"], content["numRegistration_val"], content["numPairedTraining"]) == (3, 1, 0)
    assert content["tensorImageShape"] == {"0": [4, 5, 6]}


CONFIG = {
    "imports": ["$from morphseek_monai.data import training_subjects"],
    "dataset_dir": "/does/not/exist",
    "train": {
        "dataset": {
            "_target_": "morphseek_monai.data.PairDataset",
            "data": "$training_subjects(@dataset_dir)",
            "mode": "random",
            "length": 3,
        }
    },
}


def test_overridden_bundle_data_is_never_evaluated(oasis: Path) -> None:
    """MONAI Label replaces the list and gives no dataset_dir."""
    parser = ConfigParser(json.loads(json.dumps(CONFIG)))
    parser["train#dataset#data"] = [
        {key: str(oasis / f"{key}sTr" / f"OASIS_000{i}_0000.nii.gz") for key in ("image", "label")}
        for i in (1, 2)
    ]
    assert len(parser.get_parsed_content("train#dataset")) == 3
    assert len(parser.get_parsed_content("train#dataset#data")) == 2


def test_bundle_reads_the_folder(oasis: Path) -> None:
    parser = ConfigParser({**CONFIG, "dataset_dir": str(oasis)})
    assert len(parser.get_parsed_content("train#dataset#data")) == 3
    with pytest.raises(RuntimeError) as caught:
        ConfigParser(json.loads(json.dumps(CONFIG))).get_parsed_content("train#dataset#data")
    assert "does not exist" in str(caught.value.__cause__)


@pytest.mark.skipif(not BRAINS, reason="set MORPHSEEK_BRAINS to a folder in the Learn2Reg OASIS layout")
def test_real_folder() -> None:
    subjects, pairs = training_subjects(BRAINS), validation_pairs(BRAINS)
    check_disjoint(subjects, pairs)
    assert subjects and pairs and len(label_names(BRAINS)) > 1
    assert all("label" in s for s in subjects)
    assert all("label" in p[end] for p in pairs for end in ("fixed", "moving"))


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """Abdomen MR<-CT as published (release 1.1): lists by modality, unpaired scans, a misspelt pair, a test set."""
    scans = {"0": ["0001_0000", "0002_0000", "0003_0000", "1051_0000"]}
    scans["1"] = ["0001_0001", "0002_0001", "0003_0001", "1001_0001"]
    task = "AbdomenMRCT"
    content = {
        "registration_direction": {"fixed": 0, "moving": 1},
        "numTraining": {"0": 4, "1": 4},
        "training": {
            number: [
                {"image": image(task, s), **{k: image(task, s).replace("images", f"{k}s") for k in ("label", "mask")}}
                for s in names
            ]
            for number, names in scans.items()
        },
        "training_paired_images": [
            {"0": image(task, "0001_0000"), "1": image(task, "0001_0001")},
            {"0": image(task, "0002_0000"), "1": image(task, "A0002_0001")},
            {"0": image(task, "0003_0000"), "1": image(task, "A0003_0001")},
        ],
        "registration_val": [{"fixed": image(task, "0003_0000"), "moving": image(task, "0003_0001")}],
        "registration_test": [
            {"fixed": "./imagesTs/AbdomenMRCT_0009_0000.nii.gz", "moving": "./imagesTs/AbdomenMRCT_0009_0001.nii.gz"}
        ],
    }
    return make(tmp_path / "official", task, scans["0"] + scans["1"], content, masks=True)


def test_official_abdomen_json(official: Path) -> None:
    subjects = training_subjects(official)
    assert [s["id"][-9:] for s in subjects] == [
        "0001_0000", "0002_0000", "1051_0000", "0001_0001", "0002_0001", "1001_0001"
    ]  # fmt: skip
    assert [s["modality"] for s in subjects] == ["0000"] * 3 + ["0001"] * 3
    assert all({"label", "mask"} <= set(s) for s in subjects)
    (pair,) = validation_pairs(official)
    assert (pair["fixed"]["id"][-9:], pair["moving"]["id"][-9:]) == ("0003_0000", "0003_0001")
    assert pair["fixed"]["mask"].endswith("masksTr/AbdomenMRCT_0003_0000.nii.gz")


def test_official_abdomen_pairs_go_from_ct_to_mr(official: Path) -> None:
    with pytest.warns(UserWarning, match="pairs .*A0002_0001.nii.gz, which does not exist; the pair is left out"):
        (pair,) = training_pairs(official)
    assert (pair["fixed"]["modality"], pair["moving"]["modality"]) == ("0000", "0001")
    edit(official, registration_direction={"fixed": 1, "moving": 0})
    with pytest.warns(UserWarning):
        (pair,) = training_pairs(official)
    assert (pair["fixed"]["modality"], pair["moving"]["modality"]) == ("0001", "0000")


@pytest.mark.parametrize(
    ("relation", "count"),
    [("within", 2), ("both", 9), ("across", 7)],  # MR fixed of 3, CT moving of 3; two of the pairs are one person's
)
def test_official_abdomen_is_paired_mr_fixed(official: Path, relation: str, count: int) -> None:
    dataset = PairDataset(training_subjects(official), relation=relation, modalities=("0000", "0001"))
    assert len(dataset) == count
    for fixed, moving in dataset.pairs:
        assert (dataset.images[fixed]["modality"], dataset.images[moving]["modality"]) == ("0000", "0001")


def test_images_that_only_the_pairs_name_are_trained_on(mrct: Path) -> None:
    edit(mrct, training={"0": [image("AbdomenMRCT", "0020_0000")]})
    assert [s["id"][-9:] for s in training_subjects(mrct)] == [
        "0020_0000", *(f"000{i}_000{m}" for i in (1, 2, 3) for m in (0, 1))
    ]  # fmt: skip
    edit(mrct, training=[{"image": "imagesTr/AbdomenMRCT_0001_0000.nii.gz"}])  # same file, written otherwise
    assert [s["id"][-9:] for s in training_subjects(mrct)].count("0001_0000") == 1
    edit(mrct, training=[], training_paired_images=[{"fixed": "imagesTr/no.nii.gz", "moving": "imagesTr/no.nii.gz"}])
    with pytest.raises(DataError, match=r"image \S*no\.nii\.gz does not exist"):
        training_subjects(mrct)


def test_test_subjects_are_never_trained_on(oasis: Path) -> None:
    missing = "./imagesTs/OASIS_0009_0000.nii.gz"
    edit(oasis, registration_test=[{"fixed": image("OASIS", "0002_0000"), "moving": missing}])
    assert [s["subject"] for s in training_subjects(oasis)] == ["OASIS_0001", "OASIS_0003"]


def test_modality_of_foreign_names_comes_from_the_list(tmp_path: Path) -> None:
    folder = tmp_path / "F"
    (folder / "imagesTr").mkdir(parents=True)
    for name in ("jane_mr", "jane_ct"):
        (folder / "imagesTr" / f"{name}.nii.gz").touch()
    training = {"0": ["imagesTr/jane_mr.nii.gz"], "1": [{"image": "imagesTr/jane_ct.nii.gz"}]}
    (folder / "F_dataset.json").write_text(json.dumps({"training": training}))
    assert [s["modality"] for s in training_subjects(folder)] == ["0000", "0001"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"training": [{"label": "x"}]}, r"must list paths or \{'image': path\} in 'training', got \{'label'"),
        ({"training": {"0": [3]}}, "in 'training', got 3; correct it"),
        ({"registration_val": [{"fixed": "x"}]}, r"must list \{'fixed': image, .* 'registration_val', got \{'fixed'"),
        ({"registration_val": ["x"]}, "in 'registration_val', got 'x'"),
    ],
)
def test_malformed_lists_are_named(oasis: Path, changes: dict[str, Any], reason: str) -> None:
    edit(oasis, **changes)
    with pytest.raises(DataError, match=reason):
        training_subjects(oasis)
