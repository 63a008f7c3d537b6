from __future__ import annotations

from pathlib import Path

import pytest

from morphseek_monai.data import LAYOUTS, DataError, check_disjoint, detect_layout, write_phantom

SMALL = (16, 16, 16)


def lits17(folder: Path) -> None:
    """The liver phantom under the names of LiTS17."""
    source = folder.with_name("source")
    write_phantom(source, "liver", subjects=5, shape=SMALL)
    (folder / "Training Batch 1").mkdir(parents=True)
    for place, name in (("imagesTr", "volume"), ("labelsTr", "segmentation")):
        for path in (source / place).iterdir():
            path.rename(folder / "Training Batch 1" / f"{name}-{path.name[len('liver_') :]}")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("layouts")
    write_phantom(root / "learn2reg", "brain", subjects=5, shape=SMALL)
    write_phantom(root / "msd", "liver", subjects=5, shape=SMALL)
    lits17(root / "lits17")
    return {name: root / name for name in ("learn2reg", "lits17", "msd")}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_folder_is_recognised_and_read(folders: dict[str, Path], name: str) -> None:
    assert detect_layout(folders[name]) == name
    split = {"validation": [3, 4]} if name == "lits17" else {}
    subjects = LAYOUTS[name].training(folders[name], **split)
    pairs = LAYOUTS[name].validation(folders[name], **split)
    assert len(subjects) == 3 and len(pairs) == 2
    check_disjoint(subjects, pairs)
    for subject in [*subjects, *(pair[end] for pair in pairs for end in ("fixed", "moving"))]:
        assert {"image", "label", "id", "subject", "modality"} <= subject.keys()
        assert Path(subject["image"]).is_file() and Path(subject["label"]).is_file()
    assert LAYOUTS[name].description


@pytest.mark.parametrize(("name", "other"), [("lits17", "msd"), ("msd", "lits17")])
def test_a_layout_does_not_read_another(folders: dict[str, Path], name: str, other: str) -> None:
    with pytest.raises(DataError, match=f"found none of layout {name}; give the folder"):
        LAYOUTS[name].training(folders[other])


def test_nothing_and_too_much_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere does not exist; give the folder of the data set"):
        detect_layout(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"one of the known layouts \(Learn2Reg: .*found none; name the layout"):
        detect_layout(tmp_path)
    write_phantom(tmp_path, subjects=4, shape=SMALL)
    (tmp_path / "volume-0.nii").touch()
    with pytest.raises(DataError, match="found learn2reg and lits17; name the layout or give the right folder"):
        detect_layout(tmp_path)
