from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from morphseek_monai.data import (
    DataError,
    PairDataset,
    ensure_phantom,
    label_names,
    training_pairs,
    training_subjects,
    validation_pairs,
    write_phantom,
)
from morphseek_monai.data.phantoms.anatomy import brain, torso
from morphseek_monai.data.phantoms.render import make_scan

from ...programs import Program

SMALL = (24, 24, 24)


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def voxels(path: str) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


def dice(pair: dict[str, dict[str, str]], num_labels: int) -> float:
    fixed, moving = (voxels(pair[end]["label"]) for end in ("fixed", "moving"))
    shares = [
        2 * np.sum((fixed == i) & (moving == i)) / (np.sum(fixed == i) + np.sum(moving == i))
        for i in range(1, num_labels)
    ]
    return float(np.mean(shares))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("phantoms")
    for kind in ("brain", "torso"):
        write_phantom(root / kind, kind, subjects=6, shape=(32, 32, 32), validation=2)
    return {kind: root / kind for kind in ("brain", "torso")}


def test_brain_layout(folders: dict[str, Path]) -> None:
    folder = folders["brain"]
    assert [s["subject"] for s in training_subjects(folder)] == [f"PhantomBrain_000{i}" for i in range(1, 5)]
    assert {(p["fixed"]["id"][13:17], p["moving"]["id"][13:17]) for p in validation_pairs(folder)} == {
        ("0005", "0006"),
        ("0006", "0005"),
    }
    content = json.loads((folder / "PhantomBrain_dataset.json").read_text())
    assert content["numTraining"] == 6  # validation subjects too, as Learn2Reg has it
    assert content["tensorImageShape"] == {"0": [32, 32, 32]}
    assert len(label_names(folder)) == 13


def test_torso_layout(folders: dict[str, Path]) -> None:
    folder = folders["torso"]
    pairs = training_pairs(folder) + validation_pairs(folder)
    assert [(p["fixed"]["modality"], p["moving"]["modality"]) for p in pairs] == [("0000", "0001")] * 6
    assert all(p["fixed"]["subject"] == p["moving"]["subject"] for p in pairs)
    assert len(training_subjects(folder)) == 8
    ct = voxels(pairs[0]["moving"]["image"])
    assert ct.min() < -900 and ct.max() > 300  # air and bone, Hounsfield units
    mask, label = voxels(pairs[0]["fixed"]["mask"]), voxels(pairs[0]["fixed"]["label"])
    assert set(np.unique(mask)) == {0, 1} and np.all(mask[label > 0] == 1)


@pytest.mark.parametrize("kind", ["brain", "torso"])
def test_subjects_differ_by_a_learnable_amount(folders: dict[str, Path], kind: str) -> None:
    folder = folders[kind]
    num_labels = len(label_names(folder))
    subjects = training_subjects(folder)
    pairs = (
        [{"fixed": f, "moving": m} for f in subjects for m in subjects if f is not m]
        if kind == "brain"
        else training_pairs(folder)
    )
    overlap = np.mean([dice(pair, num_labels) for pair in pairs])
    assert 0.5 < overlap < 0.75
    for subject in subjects:
        assert set(np.unique(voxels(subject["label"]))) == set(range(num_labels))


@pytest.mark.parametrize("anatomy", [brain(), torso()], ids=["brain", "torso"])
def test_images_show_every_structure(anatomy: Any) -> None:
    """Neighbouring structures differ by more than the noise, so an image metric can align them."""
    for modality in anatomy.modality:
        scan = make_scan(anatomy, modality, 1, (48, 48, 48), seed=0)
        inside = scan.image[scan.label > 0] / anatomy.scale[modality]
        names = scan.label[scan.label > 0]
        for structure in anatomy.structures:
            if structure.label:
                shown = np.median(inside[names == structure.label])
                # bias field, contrast jitter and partial volume of thin structures allowed for
                spread = max(abs(s.signal[modality]) for s in anatomy.structures)
                assert abs(shown - structure.signal[modality]) < 0.2 * spread, (structure.name, shown)


def test_same_seed_same_bytes_whatever_the_number_of_subjects(tmp_path: Path) -> None:
    few, many, other = tmp_path / "few", tmp_path / "many", tmp_path / "other"
    write_phantom(few, subjects=4, shape=SMALL)
    write_phantom(many, subjects=5, shape=SMALL)
    write_phantom(other, subjects=4, shape=SMALL, seed=1)
    a, b, c = digests(few), digests(many), digests(other)
    common = [name for name in a if name.endswith(".nii.gz")]
    assert len(common) == 8 and len(set(a.values())) == 9
    assert all(a[name] == b[name] for name in common)
    assert all(a[name] != c[name] for name in common)


def test_number_of_threads_changes_nothing() -> None:
    before = torch.get_num_threads()
    scans = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            scans.append(make_scan(torso(), "0001", 2, (32, 32, 32), seed=3))
    finally:
        torch.set_num_threads(before)
    for one, three in zip(*scans):
        np.testing.assert_array_equal(one, three)


def test_scans_of_a_subject_share_the_person_not_the_pose() -> None:
    mr, ct = (make_scan(torso(), modality, 1, (32, 32, 32), seed=0).label for modality in ("0000", "0001"))
    other = make_scan(torso(), "0001", 2, (32, 32, 32), seed=0).label
    agree = np.mean((mr == ct)[(mr > 0) | (ct > 0)])
    assert np.mean((mr == other)[(mr > 0) | (other > 0)]) < agree < 1


def test_anisotropic_shape_keeps_the_field_of_view(tmp_path: Path) -> None:
    write_phantom(tmp_path, subjects=4, shape=(32, 24, 16))
    image = nib.load(training_subjects(tmp_path)[0]["image"])
    assert image.shape == (32, 24, 16)
    np.testing.assert_allclose(image.header.get_zooms(), (6, 8, 12))
    centre = image.affine @ [15.5, 11.5, 7.5, 1]
    np.testing.assert_allclose(centre[:3], 0, atol=1e-6)
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S")


def test_left_is_left() -> None:
    label = make_scan(brain(), "0000", 1, (32, 32, 32), seed=0).label
    names = {name: index for index, name in brain().label_names().items()}
    for organ in ("Thalamus", "Putamen"):
        left, right = (
            np.argwhere(label == names[f"{side}-{organ}"])[:, 0].mean() for side in ("Left", "Right")
        )
        assert left < right  # RAS: the first axis runs to the patient's right


def test_ensure_phantom_writes_once_and_leaves_other_data_alone(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    (folder / ".gitkeep").touch()  # hidden files are nobody's data
    assert ensure_phantom(str(folder), subjects=4, shape=SMALL) == str(folder)
    first = digests(folder)
    image = Path(training_subjects(folder)[0]["image"])
    image.write_bytes(b"touched")
    ensure_phantom(folder, subjects=4, shape=SMALL)
    assert image.read_bytes() == b"touched"
    (folder / "PhantomBrain_dataset.json").unlink()  # as after an interruption
    ensure_phantom(folder, subjects=4, shape=SMALL)
    assert digests(folder) == first
    real = tmp_path / "real"
    real.mkdir()
    (real / "OASIS_dataset.json").write_text("{}")
    ensure_phantom(real)
    assert len(list(real.iterdir())) == 1


def test_foreign_files_are_not_mixed_in(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("")
    with pytest.raises(
        DataError, match=r"holds thesis\.txt, no PhantomBrain file; give an empty or new folder"
    ):
        ensure_phantom(tmp_path, subjects=4, shape=SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"kind": "leg"}, "'kind' must be one of brain, torso, liver, got 'leg'"),
        ({"shape": (24, 24)}, "'shape' must be three sizes of at least 16"),
        ({"shape": (24, 24, 8)}, "'shape' must be three sizes of at least 16"),
        ({"subjects": 3}, r"'subjects' must be 4\.\.9999 with 2 for validation \(at least 2\), got 3"),
        ({"validation": 1}, "with 1 for validation"),
    ],
)
def test_bad_options(options: dict[str, Any], reason: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=reason):
        write_phantom(tmp_path / "p", **options)
    assert not (tmp_path / "p").exists()


def test_pairs_dataset_reads_a_phantom(folders: dict[str, Path]) -> None:
    from monai.transforms import LoadImaged

    load = LoadImaged(["image", "label"], ensure_channel_first=True)
    dataset = PairDataset(
        training_subjects(folders["torso"]), load, relation="across", modalities=("0000", "0001")
    )
    assert len(dataset) == 4 * 3
    assert dataset[0]["image"].shape == (2, 32, 32, 32) and dataset[0]["labelled"]


@pytest.mark.slow
def test_concurrent_processes_agree(tmp_path: Path) -> None:
    call = f"ensure_phantom({str(tmp_path / 'p')!r}, shape=(16, 16, 16))"
    code = f"from morphseek_monai.data import ensure_phantom; {call}"
    both = [Program(["-c", code]) for _ in range(2)]
    assert [program.wait().returncode for program in both] == [0, 0]
    assert len(digests(tmp_path / "p")) == 25
