"""A scan and atlases that are the scan moved by whole voxels: the labels that come back are known exactly."""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from morphseek_monai.base.errors import DataError
from morphseek_monai.data.scans.scan import read_scan, write_scan
from morphseek_monai.registration.batch import run as batch
from morphseek_monai.registration.models.bundles import find_bundle
from morphseek_monai.registration.options import RegisterOptions
from morphseek_monai.registration.segmentation.segment import segment
from morphseek_monai.space.grid import Grid
from morphseek_monai.spatial.files.transform_file import write_transform
from morphseek_monai.spatial.point_map import PointMap

SIZE = (18, 17, 16)
GRID = Grid(SIZE, np.array([[-2.0, 0, 0, 5], [0, 0, 1.5, -9], [0, 1.0, 0, 4], [0, 0, 0, 1]]))
OPTIONS = RegisterOptions(bundle=str(find_bundle("morphseek_phantom")), report=False)
SHIFTS = {"a": 1, "b": -2, "c": 2}  # voxels along the first axis


def anatomy() -> tuple[np.ndarray, np.ndarray]:
    image = ndimage.gaussian_filter(np.random.default_rng(0).random(SIZE), 1.5).astype(np.float32)
    labels = np.zeros(SIZE, np.int16)
    labels[4:13, 4:13, 4:9], labels[6:11, 5:12, 9:13] = 3, 300
    return image, labels


class Desk:
    """A scan, a folder of atlases, and registrations that know the truth."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out = folder, folder / "out"
        self.calls: list[str] = []
        self.verdicts: dict[str, str] = {}
        self.errors: dict[str, Exception] = {}
        self.scan = folder / "scan.nii.gz"
        write_scan(self.scan, anatomy()[0], GRID)
        for name in SHIFTS:
            self.add(name)

    def add(self, name: str, labels: Any = None) -> None:
        shift = SHIFTS.get(name, 0)
        image, own = (np.roll(array, shift, axis=0) for array in anatomy())
        write_scan(self.folder / f"atlases/images/{name}.nii.gz", image, GRID)
        write_scan(self.folder / f"atlases/labels/{name}.nii.gz", own if labels is None else labels, GRID)

    def segment(self, fusion: str = "local", **options: Any) -> dict[str, Any]:
        self.calls.clear()
        return segment(self.scan, self.folder / "atlases", self.out, fusion, OPTIONS, **options)

    def read(self, name: str) -> Any:
        image: Any = nib.load(self.out / name)
        assert np.array_equal(image.affine, GRID.affine)
        return np.asarray(image.dataobj)


class Registered:
    """What a registration leaves in its folder."""

    def __init__(self, moving: str, verdict: str) -> None:
        self.moving, self.verdict = moving, verdict
        self.metrics = {"before": {"similarity": 0.25}, "after": {"similarity": 0.75, "njd_percent": 0.125}}
        move = np.eye(4)
        move[:3, 3] = GRID.affine[:3, 0] * SHIFTS.get(Path(moving).name[0], 0)
        self.forward = PointMap((move,))

    def save(self, folder: Path, report: bool) -> None:
        image = read_scan(self.moving)
        shift = SHIFTS.get(Path(self.moving).name[0], 0)
        write_scan(folder / "warped.nii.gz", np.roll(image.array, -shift, axis=0), GRID)
        write_transform(folder / "transform.h5", self.forward)
        entry = {"size": list(SIZE), "affine": GRID.affine.tolist()}
        checks = [{"name": n, "value": v, "outcome": self.verdict} for n, v in (("folding", 7.125), ("inverse", None))]
        record = {"verdict": self.verdict, "metrics": self.metrics, "checks": checks, "fixed": entry, "moving": entry}
        (folder / "result.json").write_text(json.dumps(record))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    desk = Desk(tmp_path)

    def register(fixed: str, moving: str, options: RegisterOptions, **changes: Any) -> Registered:
        name = Path(moving).name.removesuffix(".nii.gz")
        desk.calls.append(name)
        if name in desk.errors:
            raise desk.errors[name]
        return Registered(moving, desk.verdicts.get(name, "succeeded"))

    monkeypatch.setattr(batch, "register", register)
    return desk


@pytest.mark.parametrize("fusion", ["local", "majority"])
def test_atlases_that_agree_give_the_known_labels(fusion: str, desk: Desk) -> None:
    record = desk.segment(fusion)
    labels = desk.read("labels.nii.gz")
    np.testing.assert_array_equal(labels, anatomy()[1])
    assert labels.dtype == np.uint16  # the smallest that holds 300
    np.testing.assert_allclose(desk.read("agreement.nii.gz"), 1)
    assert record["agreement"] == 1 and record["used"] == 3
    with open(desk.out / "structures.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["label"], row["volume_mm3"], row["atlases"]) for row in rows] == [
        ("3", str(3.0 * 9 * 9 * 5), "3"), ("300", str(3.0 * 5 * 7 * 4), "3")
    ]  # fmt: skip
    assert not list(desk.out.glob(".votes*"))


def test_agreement_is_the_share_of_the_votes(desk: Desk) -> None:
    """Two say 3, one says 8, everywhere in the structure."""
    desk.add("b", np.where(np.roll(anatomy()[1], SHIFTS["b"], axis=0) == 3, 8, 0).astype(np.int16))
    record = desk.segment("majority")
    labels, agreement = desk.read("labels.nii.gz"), desk.read("agreement.nii.gz")
    np.testing.assert_array_equal(labels, anatomy()[1])
    np.testing.assert_allclose(agreement[labels > 0], 2 / 3, rtol=1e-5)
    assert "1 structures of the atlases win no voxel: 8" in record["notices"]
    assert [(row["label"], row["voxels"] > 0, row["atlases"]) for row in record["structures"]] == [
        (3, True, 2), (8, False, 1), (300, True, 2)
    ]  # fmt: skip


def test_the_better_image_wins_a_local_vote(desk: Desk) -> None:
    """Two atlases of another image outvote the one that fits, unless similarity counts."""
    for name in ("a", "c"):
        wrong = ndimage.gaussian_filter(np.random.default_rng(9).random(SIZE), 1.5).astype(np.float32)
        write_scan(desk.folder / f"atlases/images/{name}.nii.gz", wrong, GRID)
        write_scan(desk.folder / f"atlases/labels/{name}.nii.gz", np.full(SIZE, 5, np.int16), GRID)
    desk.segment("majority")
    assert (desk.read("labels.nii.gz") == 5).mean() > 0.85
    desk.segment("local")
    assert desk.calls == []
    # the atlas that fits does not see two planes, where the others alone vote
    np.testing.assert_array_equal(desk.read("labels.nii.gz")[2:], anatomy()[1][2:])


def test_what_is_not_seen_is_told(desk: Desk) -> None:
    """An atlas moved by two voxels does not know two planes of the scan."""
    for name in ("a", "c"):
        (desk.folder / f"atlases/images/{name}.nii.gz").unlink()
    record = desk.segment()
    assert any(notice.startswith("no atlas sees 11.1 % of the scan") for notice in record["notices"])
    agreement = desk.read("agreement.nii.gz")
    assert (agreement[:2] == 0).all() and (agreement[2:] == 1).all()


def test_damaged_atlases_are_left_out_in_one_line_each(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.add("d")
    desk.errors["d"] = DataError("moving image d.nii.gz is truncated; copy it again")
    desk.add("e")
    desk.verdicts["e"] = "failed"
    desk.add("f", np.full(SIZE, 0.5, np.float32))
    (desk.folder / "atlases/labels/g.nii.gz").write_bytes(b"")
    write_scan(desk.folder / "atlases/images/g.nii.gz", anatomy()[0], GRID)
    write_scan(desk.folder / "atlases/images/h.nii.gz", anatomy()[0], GRID)
    desk.add("i", np.zeros(SIZE, np.int16))
    desk.verdicts["a"] = "doubtful"
    with caplog.at_level(logging.INFO, "morphseek"):
        record = desk.segment()
    assert sorted(desk.calls) == ["a", "b", "c", "d", "e"]  # nothing is registered for nothing
    left_out = {atlas["name"]: atlas["left_out"] for atlas in record["atlases"] if "left_out" in atlas}
    expected = {
        "d": "is truncated", "e": "its registration failed (folding 7.12, inverse nan)", "f": "must hold whole numbers",
        "g": "is empty (0 bytes)", "h": "has no label map", "i": "is empty (0 everywhere)",
    }  # fmt: skip
    assert set(left_out) == set(expected) and all(expected[name] in left_out[name] for name in left_out)
    told = [line for line in caplog.messages if line.startswith("notice: atlas ")]
    assert len(told) == 6 and all("\n" not in line for line in told)
    verdicts = {atlas["name"]: atlas.get("verdict") for atlas in record["atlases"]}
    assert (verdicts["a"], verdicts["b"], verdicts["e"], verdicts["d"]) == ("doubtful", "succeeded", "failed", None)
    assert record["notices"] == ["the registrations of 1 atlases are doubtful: a"]
    np.testing.assert_array_equal(desk.read("labels.nii.gz"), anatomy()[1])


def test_no_atlas_left_is_an_error_and_leaves_no_result(desk: Desk) -> None:
    desk.segment()
    desk.errors = {name: DataError(f"{name} is broken; copy it again") for name in SHIFTS}
    for name in SHIFTS:
        desk.add(name)  # newer files: registered anew
    with pytest.raises(DataError, match="none of 3 atlases is left, not a, since a is broken"):
        desk.segment()
    assert not (desk.out / "segment.json").exists() and not (desk.out / "labels.nii.gz").exists()


def test_the_scan_itself_is_no_atlas(desk: Desk) -> None:
    (desk.folder / "atlases/images/z.nii.gz").symlink_to(desk.scan)
    write_scan(desk.folder / "atlases/labels/z.nii.gz", anatomy()[1], GRID)
    record = desk.segment()
    assert record["used"] == 3 and record["atlases"][-1] == {"name": "z", "left_out": "it is the scan itself"}


def test_what_is_registered_stays(desk: Desk) -> None:
    desk.segment()
    assert sorted(desk.calls) == ["a", "b", "c"]
    desk.add("b")
    desk.segment("majority")
    assert desk.calls == ["b"]


WRONG = {
    "fusion": "--fusion must be one of local, majority, got 'staple'",
    "folder": "must have one of the known layouts",
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_one_line(case: str, desk: Desk, tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    with pytest.raises(DataError) as told:
        segment(desk.scan, folder, desk.out, "staple" if case == "fusion" else "local", OPTIONS)
    assert WRONG[case] in str(told.value) and desk.calls == []
