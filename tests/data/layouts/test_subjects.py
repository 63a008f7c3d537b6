from __future__ import annotations

from pathlib import Path

import pytest

from morphseek_monai.data import DataError, check_disjoint
from morphseek_monai.data.layouts.subjects import image_id, modality, subject_of


def test_keys_win_over_the_file_name() -> None:
    entry = {"image": "T_0001_0002.nii.gz", "id": "a", "subject": "b", "modality": "c"}
    assert (image_id(entry), subject_of(entry), modality(entry)) == ("a", "b", "c")
    del entry["id"], entry["subject"], entry["modality"]
    assert (image_id(entry), subject_of(entry), modality(entry)) == ("T_0001_0002", "T_0001", "0002")


def test_same_subject_in_another_modality_is_a_leak() -> None:
    training = [{"image": "T_0001_0000.nii.gz"}, {"image": "T_0002_0000.nii.gz"}]
    pair = {"fixed": {"image": "T_0003_0000.nii.gz"}, "moving": {"image": "T_0002_0001.nii.gz"}}
    with pytest.raises(
        DataError, match=r"subject T_0002 is in training \(T_0002_0000\.nii\.gz\) and in validation"
    ):
        check_disjoint(training, [pair])
    check_disjoint(training[:1], [pair])


def test_same_file_under_another_name_is_a_leak(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").touch()
    (tmp_path / "b.nii.gz").symlink_to(tmp_path / "a.nii.gz")
    with pytest.raises(DataError, match="take it out of one list"):
        check_disjoint([{"image": str(tmp_path / "a.nii.gz")}], [{"image": str(tmp_path / "b.nii.gz")}])


def test_pairs_are_searched_on_both_sides() -> None:
    pair = {"fixed": {"image": "a"}, "moving": {"image": "b"}}
    for image in "ab":
        with pytest.raises(DataError, match=f"subject {image} "):
            check_disjoint([pair], [{"image": image}])
