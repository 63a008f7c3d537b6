from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from morphseek_monai.data import (
    LITS_VALIDATION,
    DataError,
    PairDataset,
    check_disjoint,
    lits_training_subjects,
    lits_validation_pairs,
)

NUMBERS = (0, 2, 5, 9, 27, 28, 100, 130)
HELD_OUT = (28, 100, 9)


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(path.name.encode())
    return path


def lits17(folder: Path, numbers: Sequence[int] = NUMBERS) -> Path:
    """As the download unpacks: two batches, some files compressed, the unlabelled test scans beside them."""
    for n in numbers:
        batch = folder / f"Training Batch {1 if n < 28 else 2}"
        touch(batch / f"volume-{n}.nii{'.gz' if n % 2 else ''}")
        touch(batch / f"segmentation-{n}.nii")
    touch(folder / "Test" / "test-volume-0.nii")
    touch(folder / "Training Batch 1" / "._volume-0.nii")
    return folder


def msd(folder: Path, numbers: Sequence[int] = NUMBERS, validation: Sequence[int] = ()) -> Path:
    for n in numbers:
        touch(folder / "imagesTr" / f"liver_{n}.nii.gz")
        touch(folder / "labelsTr" / f"liver_{n}.nii.gz")
    touch(folder / "imagesTr" / "._liver_0.nii.gz")
    entries = {
        n: {"image": f"./imagesTr/liver_{n}.nii.gz", "label": f"./labelsTr/liver_{n}.nii.gz"} for n in numbers
    }
    content: dict[str, Any] = {
        "training": [entries[n] for n in reversed(numbers) if n not in validation],
        "test": ["./imagesTs/liver_132.nii.gz"],
    }
    if validation:
        content["validation"] = [entries[n] for n in validation]
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(params=["lits17", "msd"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return {"lits17": lits17, "msd": msd}[request.param](tmp_path / request.param)


def number(subject: dict[str, str]) -> int:
    return int(subject["id"].replace("_", "-").split("-")[1])


def test_every_case_is_on_one_side(folder: Path) -> None:
    subjects, pairs = lits_training_subjects(folder, HELD_OUT), lits_validation_pairs(folder, HELD_OUT)
    assert [number(s) for s in subjects] == [0, 2, 5, 27, 130]  # by number, not by name
    assert {number(p[end]) for p in pairs for end in p} == set(HELD_OUT)
    check_disjoint(subjects, pairs)


def test_image_and_label_are_of_one_case_and_there(folder: Path) -> None:
    pairs = lits_validation_pairs(folder, HELD_OUT)
    for subject in [*lits_training_subjects(folder, HELD_OUT), *(p["fixed"] for p in pairs)]:
        names = [Path(subject[key]).name.split(".")[0] for key in ("image", "label")]
        assert all(Path(subject[key]).is_file() for key in ("image", "label"))
        assert len({name.replace("_", "-").split("-")[1] for name in names}) == 1
        assert subject["modality"] == "CT" and subject["subject"] == subject["id"]


def test_validation_is_a_ring(folder: Path) -> None:
    """Everyone once fixed and once moving, the same for any order of the list."""
    pairs = [(number(p["fixed"]), number(p["moving"])) for p in lits_validation_pairs(folder, HELD_OUT)]
    assert pairs == [(9, 28), (28, 100), (100, 9)]
    assert lits_validation_pairs(folder, sorted(HELD_OUT)) == lits_validation_pairs(folder, HELD_OUT)
    assert len(lits_validation_pairs(folder, [0, 2])) == 2


def test_default_split_holds_out_the_last_31_of_131(tmp_path: Path) -> None:
    folder = msd(tmp_path / "full", range(131))
    assert len(LITS_VALIDATION) == 31
    assert [number(s) for s in lits_training_subjects(folder)] == list(range(100))
    assert [number(p["fixed"]) for p in lits_validation_pairs(folder)] == list(range(100, 131))


def test_a_json_may_say_who_is_held_out_and_the_caller_has_the_last_word(tmp_path: Path) -> None:
    folder = msd(tmp_path / "own", validation=(5, 9))
    assert [number(p["fixed"]) for p in lits_validation_pairs(folder)] == [5, 9]
    assert 5 not in map(number, lits_training_subjects(folder))
    assert [number(p["fixed"]) for p in lits_validation_pairs(folder, [0, 2])] == [0, 2]
    assert {5, 9} <= set(map(number, lits_training_subjects(folder, [0, 2])))


def test_pairs_dataset_takes_the_lists(folder: Path) -> None:
    assert len(PairDataset(lits_training_subjects(folder, HELD_OUT))) == 5 * 4
    assert len(PairDataset(lits_validation_pairs(folder, HELD_OUT))) == 3


@pytest.mark.parametrize("held_out", [[3, 9], [9, 100, 3, 4]])
def test_an_absent_case_is_named(folder: Path, held_out: list[int]) -> None:
    missing = ", ".join(str(n) for n in sorted(set(held_out) - set(NUMBERS)))
    for read in (lits_training_subjects, lits_validation_pairs):
        with pytest.raises(DataError, match=f"lacks case {missing}, held out for validation; copy it there or"):
            read(folder, held_out)


@pytest.mark.parametrize("held_out", [[], [9], [9, 9], [9, 28, 9]])
def test_a_split_needs_two_different_cases(folder: Path, held_out: list[int]) -> None:
    with pytest.raises(DataError, match="validation must be at least two different case numbers"):
        lits_training_subjects(folder, held_out)


def test_no_case_left(folder: Path) -> None:
    assert len(lits_validation_pairs(folder, NUMBERS)) == len(NUMBERS)
    with pytest.raises(DataError, match="has no case left for training; hold fewer cases out"):
        lits_training_subjects(folder, NUMBERS)


def test_scan_without_segmentation(tmp_path: Path) -> None:
    folder = lits17(tmp_path)
    (folder / "Training Batch 1" / "segmentation-5.nii").unlink()
    with pytest.raises(DataError, match=r"volume-5\.nii\.gz has no segmentation-5\.nii; copy it too"):
        lits_training_subjects(folder, HELD_OUT)


@pytest.mark.parametrize("copy", ["Training Batch 2/volume-2.nii.gz", "elsewhere/segmentation-2.nii"])
def test_two_files_of_one_number(tmp_path: Path, copy: str) -> None:
    folder = lits17(tmp_path)
    touch(folder / copy)
    with pytest.raises(DataError, match=r"-2\.nii.* and .*-2\.nii.* have the same number; take one of them away"):
        lits_training_subjects(folder, HELD_OUT)


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_msd_json_and_files_disagree(tmp_path: Path) -> None:
    folder = msd(tmp_path)
    (folder / "labelsTr" / "liver_5.nii.gz").unlink()
    with pytest.raises(DataError, match=r"label .*liver_5\.nii\.gz does not exist"):
        lits_training_subjects(folder, HELD_OUT)
    edit(folder, training=[{"image": "./imagesTr/liver_0.nii.gz"}])
    with pytest.raises(DataError, match=r"dataset\.json lists {'image': .* without image and label; download"):
        lits_training_subjects(folder, HELD_OUT)
    edit(folder, training=[{"image": "./imagesTr/spleen_2.nii.gz", "label": "./labelsTr/spleen_2.nii.gz"}])
    with pytest.raises(DataError, match="lists no labelled liver_N.nii.gz; give the folder Task03_Liver"):
        lits_training_subjects(folder, HELD_OUT)


def test_a_case_in_both_lists_of_a_json(tmp_path: Path) -> None:
    folder = msd(tmp_path, validation=(5, 9))
    content = json.loads((folder / "dataset.json").read_text())
    edit(folder, training=content["training"] + content["validation"][:1])
    with pytest.raises(DataError, match=r"liver_5.* and .*liver_5.* have the same number"):
        lits_training_subjects(folder)


def test_what_is_no_liver_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere does not exist; give the folder of the liver data"):
        lits_training_subjects(tmp_path / "nowhere")
    with pytest.raises(DataError, match="must hold either volume-N.nii .* found none; give the folder that directly"):
        lits_training_subjects(tmp_path)
    lits17(msd(tmp_path))
    with pytest.raises(DataError, match="found lits17 and msd; give the folder"):
        lits_training_subjects(tmp_path)
    assert len(lits_training_subjects(tmp_path, HELD_OUT, layout="msd")) == 5
    with pytest.raises(ValueError, match="'layout' must be one of lits17, msd, got 'nnunet'"):
        lits_training_subjects(tmp_path, layout="nnunet")
