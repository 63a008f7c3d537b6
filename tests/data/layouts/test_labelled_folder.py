"""Plain folders of labelled images."""

from __future__ import annotations

from pathlib import Path

import pytest

from morphseek_monai.data import DataError, labelled_images, named_pairs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for kind, names in (("images", "cabd"), ("labels", "bad")):
        (tmp_path / kind).mkdir()
        for name in names:
            (tmp_path / kind / f"{name}_0000.nii.gz").touch()
    return tmp_path


def test_those_with_a_label_in_alphabetical_order(folder: Path) -> None:
    found = labelled_images(folder)
    assert [subject["id"] for subject in found] == ["a_0000", "b_0000", "d_0000"]
    for subject in found:
        assert Path(subject["image"]).parent.name == "images" and Path(subject["label"]).parent.name == "labels"
        assert Path(subject["image"]).name == Path(subject["label"]).name
    assert [subject["id"] for subject in labelled_images(folder, first=2)] == ["a_0000", "b_0000"]


def test_no_folder_is_no_image(folder: Path) -> None:
    assert labelled_images(None) == [] and named_pairs([], [["a", "b"]]) == []
    with pytest.raises(DataError, match=r"has no images/NAME.nii.gz with labels/NAME.nii.gz; correct the folder"):
        labelled_images(folder / "images")


def test_pairs_by_name(folder: Path) -> None:
    found = labelled_images(folder)
    (pair,) = named_pairs(found, [["b_0000", "d_0000"]])
    assert pair["fixed"] == found[1] and pair["moving"] == found[2]
    with pytest.raises(DataError, match=r"'pairs' names c_0000, which is not among the 3 images"):
        named_pairs(found, [["a_0000", "c_0000"]])
