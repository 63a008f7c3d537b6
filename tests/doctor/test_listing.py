from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from morphseek_monai.base.errors import report_error
from morphseek_monai.data import DataError, training_subjects, validation_pairs, write_phantom
from morphseek_monai.data.scans.stored import write_nifti
from morphseek_monai.doctor.listing import list_data, list_folder, names_of


def liver(folder: Path, cases: range, unsegmented: tuple[int, ...] = ()) -> Path:
    rng = np.random.default_rng(0)
    for i in cases:
        write_nifti(folder / f"volume-{i}.nii", rng.normal(0, 99, (16, 16, 16)).astype(np.int16), np.eye(4))
        if i not in unsegmented:
            write_nifti(folder / f"segmentation-{i}.nii", rng.integers(0, 3, (16, 16, 16), np.uint8), np.eye(4))
    return folder


def test_the_lists_of_a_folder(tmp_path: Path) -> None:
    write_phantom(tmp_path, subjects=5, shape=(16, 16, 16), validation=2)
    listing = list_folder(tmp_path)
    sides = [side for _, side in listing.subjects]
    assert sides == [("training",)] * 3 + [("validation",)] * 2
    assert [subject for subject, side in listing.subjects if side == ("training",)] == training_subjects(tmp_path)
    assert listing.validation == validation_pairs(tmp_path)
    assert (listing.errors, listing.layout) == ([], "learn2reg")
    assert names_of(tmp_path)[0] == "background" and len(names_of(tmp_path)) == 13


def test_all_missing_files_stay_in_the_list(tmp_path: Path) -> None:
    write_phantom(tmp_path, subjects=5, shape=(16, 16, 16), validation=2)
    for i in (1, 3, 5):
        (tmp_path / f"imagesTr/PhantomBrain_{i:04d}_0000.nii.gz").unlink()
    listing = list_folder(tmp_path)
    assert len(listing.subjects) == 5
    assert len(listing.errors) == 3
    with pytest.raises(DataError, match="PhantomBrain_0001_0000.nii.gz does not exist"):
        training_subjects(tmp_path)  # outside, the first one stops


def test_every_unsegmented_volume_is_told(tmp_path: Path) -> None:
    folder = liver(tmp_path, range(6), unsegmented=(1, 3))
    listing = list_folder(folder, "lits17", validation=[4, 5])
    assert [line.split("volume-")[1] for line in listing.errors] == [
        f"{i}.nii has no segmentation-{i}.nii; copy it too, or take the volume away" for i in (1, 3)
    ]
    assert len(listing.subjects) == 4 and len(listing.validation) == 2


def test_held_out_cases_that_are_not_there(tmp_path: Path) -> None:
    listing = list_folder(liver(tmp_path, range(3)))  # without split the last 31 of 131
    assert any("lacks case 100, 101" in line for line in listing.errors)
    assert len(listing.subjects) == 3 and listing.validation == []
    assert names_of(tmp_path) == {0: "background", 1: "liver", 2: "tumour"}


def test_broken_json_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "T_dataset.json").write_text("{")
    listing = list_folder(tmp_path)
    assert listing.subjects == [] and "is not valid JSON" in listing.errors[0]
    assert names_of(tmp_path) == {}


def test_an_image_on_both_sides_and_a_buried_error() -> None:
    def validation() -> list[dict[str, dict[str, str]]]:
        report_error(DataError("first"))
        try:
            raise DataError("second")
        except DataError as error:
            raise RuntimeError("Failed to evaluate") from error

    pair = {"fixed": {"image": "a.nii"}, "moving": {"image": "b.nii", "label": "l.nii"}}
    listing = list_data(lambda: [{"image": "b.nii"}], lambda: [pair])
    assert listing.subjects == [
        ({"image": "b.nii", "label": "l.nii"}, ("training", "validation")),
        ({"image": "a.nii"}, ("validation",)),
    ]
    assert list_data(list, validation).errors == ["first", "second"]


def test_other_errors_are_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError):
        list_data(lambda: [1 // 0], list)  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("options", "reason"), [({"layout": "dicom"}, "must be auto or one of"), ({"validation": [1]}, "registration_val")]
)
def test_wrong_options(options: dict[str, object], reason: str, tmp_path: Path) -> None:
    (tmp_path / "T_dataset.json").write_text(json.dumps({}))
    with pytest.raises(DataError, match=reason):
        list_folder(tmp_path, **options)  # type: ignore[arg-type]
