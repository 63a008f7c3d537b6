from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from morphseek_monai.data import (
    LITS_LABELS,
    DataError,
    ensure_phantom,
    lits_training_subjects,
    lits_validation_pairs,
    write_phantom,
)
from morphseek_monai.data.phantoms.anatomy import paint
from morphseek_monai.data.phantoms.liver import liver

SUBJECTS = 7


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("liver")
    assert write_phantom(root, "liver", subjects=SUBJECTS, shape=(28, 28, 24), validation=3) == root / "dataset.json"
    return root


def images(folder: Path, place: str = "imagesTr") -> list[Any]:
    return [nib.load(folder / place / f"liver_{i}.nii.gz") for i in range(SUBJECTS)]


def test_layout_is_that_of_msd(folder: Path) -> None:
    content = json.loads((folder / "dataset.json").read_text())
    assert content["labels"] == {"0": "background", "1": "liver", "2": "tumour"}
    assert content["numTraining"] == len(content["training"]) == 4
    assert [s["id"] for s in lits_training_subjects(folder)] == [f"liver_{i}" for i in range(4)]
    assert [p["fixed"]["id"] for p in lits_validation_pairs(folder)] == [f"liver_{i}" for i in (4, 5, 6)]
    assert {path.name for path in folder.iterdir()} == {"imagesTr", "labelsTr", "dataset.json"}


def test_no_two_patients_share_a_grid(folder: Path) -> None:
    scans = images(folder)
    assert len({scan.shape for scan in scans}) > SUBJECTS // 2
    assert len({tuple(scan.header.get_zooms()) for scan in scans}) == SUBJECTS
    assert len({tuple(np.round(scan.affine[:3, 3])) for scan in scans}) == SUBJECTS
    assert {nib.aff2axcodes(scan.affine) for scan in scans} == {tuple("RAS"), tuple("LPS"), tuple("LAS")}
    for scan, label in zip(scans, images(folder, "labelsTr")):
        assert scan.shape == label.shape
        np.testing.assert_array_equal(scan.affine, label.affine)


def test_values_are_hounsfield_units_and_a_third_has_no_tumour(folder: Path) -> None:
    without = 0
    for scan, label in zip(images(folder), images(folder, "labelsTr")):
        hu, ids = np.asarray(scan.dataobj), np.asarray(label.dataobj)
        assert hu.dtype == np.int16 and ids.dtype == np.uint8
        assert abs(np.median(hu[:2, :2]) + 1000) < 20  # air at the corners
        assert 80 < np.median(hu[ids == 1]) < 140
        assert np.sum(ids == 1) > 10 * np.sum(ids == 2)
        if 2 in ids:
            assert np.median(hu[ids == 2]) < np.median(hu[ids == 1]) - 25
        without += 2 not in ids
    assert without == 3


def test_the_liver_lies_on_the_right_whatever_the_orientation(folder: Path) -> None:
    for scan, label in zip(images(folder), images(folder, "labelsTr")):
        body = np.argwhere(np.asarray(scan.dataobj) > -300)
        organ = np.argwhere(np.asarray(label.dataobj) > 0)
        middle, liver_at = (nib.affines.apply_affine(scan.affine, where).mean(0) for where in (body, organ))
        assert liver_at[0] > middle[0] + 20  # mm to the patient's right, which is +x in the anatomies


def test_tumours_are_inside_the_liver() -> None:
    tumours = np.array([[0.36, 0.06, 0.24, 0.1], [0.4, 0.1, 0.1, 0.12]])
    with_tumours, without = liver(tumours), liver(np.zeros((0, 4)))
    position = np.random.default_rng(0).uniform(-1, 1, (3, 200000))

    def ids(anatomy: Any) -> np.ndarray:
        return np.array([0] + [s.label for s in anatomy.structures])[paint(anatomy, position)]

    ill = ids(with_tumours)
    assert (ill == 2).sum() > 50
    assert np.all(ids(without)[ill == 2] == 1) and set(ids(without)) == {0, 1}
    assert with_tumours.label_names() == LITS_LABELS


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_patient_does_not_depend_on_how_many_there_are(folder: Path, tmp_path: Path) -> None:
    write_phantom(tmp_path / "few", "liver", subjects=4, shape=(28, 28, 24))
    write_phantom(tmp_path / "other", "liver", subjects=4, shape=(28, 28, 24), seed=1)
    for name in ("imagesTr/liver_2.nii.gz", "labelsTr/liver_2.nii.gz"):
        assert digest(folder / name) == digest(tmp_path / "few" / name) != digest(tmp_path / "other" / name)


def test_ensure_phantom_knows_the_liver_layouts(tmp_path: Path) -> None:
    new = tmp_path / "new"
    assert ensure_phantom(str(new), "liver", subjects=4, shape=(16, 16, 16)) == str(new)
    before = sorted((path, path.stat().st_mtime_ns) for path in new.rglob("*"))
    ensure_phantom(new, "liver", subjects=4, shape=(16, 16, 16))
    assert sorted((path, path.stat().st_mtime_ns) for path in new.rglob("*")) == before
    real = tmp_path / "real" / "Training Batch 1"
    real.mkdir(parents=True)
    (real / "volume-0.nii").touch()
    ensure_phantom(real.parent, "liver")
    assert len(list(real.parent.rglob("*"))) == 2


def test_foreign_files_are_not_mixed_in(tmp_path: Path) -> None:
    (tmp_path / "PhantomBrain_0001_0000.nii.gz").touch()
    with pytest.raises(DataError, match=r"holds PhantomBrain_0001_0000\.nii\.gz, no liver file"):
        write_phantom(tmp_path, "liver", subjects=4, shape=(16, 16, 16))
