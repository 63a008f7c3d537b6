"""Each fault is planted into a healthy phantom; the command must name it, the image and its level, and exit so."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from morphseek_monai.data.scans.stored import write_nifti

Check = Callable[..., Any]
Rewrite = Callable[..., None]
Plant = Callable[[Path, Rewrite], object]
TRAIN, VALID = "PhantomBrain_0002_0000", "PhantomBrain_0006_0000"  # of six subjects the last two are held out


def path_of(folder: Path, role: str, name: str) -> Path:
    return folder / f"{role}sTr" / f"{name}.nii.gz"


def change(role: str, edit: Any = None, affine: Any = None, name: str = TRAIN) -> Plant:
    """Rewrite one file with another array, another affine."""
    return lambda folder, rewrite: rewrite(folder, role, name, edit, affine)


def patch(offset: int, packed: bytes, role: str = "image", name: str = TRAIN) -> Plant:
    """Overwrite bytes of a NIfTI-1 header, past every library."""

    def plant(folder: Path, _: Rewrite) -> None:
        path = path_of(folder, role, name)
        data = bytearray(gzip.decompress(path.read_bytes()))
        data[offset : offset + len(packed)] = packed
        path.write_bytes(gzip.compress(bytes(data)))

    return plant


def raw(write: Callable[[Path], Any], role: str = "image", name: str = TRAIN) -> Plant:
    return lambda folder, _: write(path_of(folder, role, name))


def copy(role: str, source: str, target: str) -> Plant:
    """Store the voxels of one file under another name, in another type: no byte of the files agrees."""

    def plant(folder: Path, _: Rewrite) -> None:
        image: Any = nib.load(path_of(folder, role, source))
        array = np.asarray(image.dataobj).astype(np.float64 if role == "image" else np.int32)
        write_nifti(path_of(folder, role, target), array, image.affine)

    return plant


def nan(array: Any) -> Any:
    array = array.astype(np.float32)
    array[3, 3, 3:5] = np.nan, np.inf
    return array


def without(label: int) -> Callable[[Any], Any]:
    return lambda array: np.where(array == label, 0, array).astype(array.dtype)


def with_id(label: int) -> Callable[[Any], Any]:
    def edit(array: Any) -> Any:
        array = array.astype(np.int16)
        array[10, 10, 10] = label
        return array

    return edit


def half(array: Any) -> Any:
    array = array.astype(np.float32)
    array[10, 10, 10] = 2.5
    return array


def flipped(affine: Any) -> Any:
    return affine @ np.diag([-1.0, -1.0, 1.0, 1.0])


def turned(degrees: float) -> Callable[[Any], Any]:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    rotation = np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    return lambda affine: rotation @ affine


def sheared(affine: Any) -> Any:
    return affine @ np.array([[1, 0.01, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])


def contradict(folder: Path, _: Rewrite) -> None:
    path = path_of(folder, "image", TRAIN)
    image: Any = nib.load(path)
    image.set_sform(image.affine, 1)
    image.set_qform(flipped(image.affine), 1)
    nib.save(image, path)


def both(plant: Callable[[str], Plant]) -> Plant:
    """The same change of an image and its label map."""
    return lambda folder, rewrite: [plant(role)(folder, rewrite) for role in ("image", "label")]


def everybody(plant: Callable[[str, str], Plant]) -> Plant:
    names = [f"PhantomBrain_{i:04d}_0000" for i in range(1, 7)]
    return lambda folder, rewrite: [plant(role, name)(folder, rewrite) for role in ("image", "label") for name in names]


def pair_with_itself(folder: Path, _: Rewrite) -> None:
    path = next(folder.glob("*_dataset.json"))
    content = json.loads(path.read_text())
    content["registration_val"][0]["fixed"] = content["registration_val"][0]["moving"]
    path.write_text(json.dumps(content))


def without_validation_label(folder: Path, _: Rewrite) -> None:
    path_of(folder, "label", VALID).unlink()
    path = next(folder.glob("*_dataset.json"))
    content = json.loads(path.read_text())
    content["training"] = [entry for entry in content["training"] if VALID not in entry["image"]]
    path.write_text(json.dumps(content))


def link_validation_into_training(folder: Path, _: Rewrite) -> None:
    path = path_of(folder, "image", TRAIN)
    path.unlink()
    path.symlink_to(path_of(folder, "image", VALID))


BREAKS = {  # what breaks training or makes its results wrong
    "nan": (change("image", nan), "not_finite", TRAIN, "2 NaN or infinite voxels"),
    "constant": (change("image", np.zeros_like), "constant", TRAIN, "constant (0 everywhere)"),
    "truncated": (raw(lambda p: p.write_bytes(p.read_bytes()[:-200])), "unreadable", TRAIN, "truncated or damaged"),
    "zero byte": (raw(lambda p: p.write_bytes(b"")), "unreadable", TRAIN, "is empty (0 bytes)"),
    "wrong extension": (
        raw(lambda p: p.write_bytes(gzip.decompress(p.read_bytes()))),
        "unreadable",
        TRAIN,
        "not gzip-compressed",
    ),
    "no image": (raw(lambda p: p.write_text("hello")), "unreadable", TRAIN, TRAIN),
    "missing image": (raw(Path.unlink), "unreadable", TRAIN, "does not exist"),
    "missing label": (raw(Path.unlink, "label"), "unreadable", TRAIN, "does not exist"),
    "link to itself": (raw(lambda p: (p.unlink(), p.symlink_to(p))), "unreadable", TRAIN, "does not exist"),
    "4-D": (change("image", lambda a: np.stack([a, a], -1)), "unreadable", TRAIN, "(24, 22, 20, 2)"),
    "colours": (
        change("image", lambda a: a.astype(np.uint8)[..., None].repeat(3, -1).view([(c, "u1") for c in "RGB"])[..., 0]),
        "unreadable",
        TRAIN,
        "one number per voxel",
    ),
    "single slice": (change("image", lambda a: a[..., :1]), "too_small", TRAIN, "single slice"),
    "zero spacing": (patch(80, struct.pack("<f", 0)), "spacing", TRAIN, "pixdim 0 "),
    "nan spacing": (patch(80, struct.pack("<f", np.nan)), "spacing", TRAIN, "pixdim nan "),
    "flat affine": (patch(280, bytes(48)), "spacing", TRAIN, "affine 0 0"),
    "contradiction": (contradict, "qform_sform", TRAIN, "qform and sform contradict each other (codes 1 1"),
    "float label": (change("label", half), "fraction", TRAIN, "has 2.5"),
    "label of a slope": (change("label", lambda a: a * np.float32(0.9999)), "fraction", TRAIN, "has 0.9999"),
    "nan label": (change("label", nan), "not_finite", TRAIN, "label has 2 NaN"),
    "large id": (change("label", with_id(99)), "label_ids", TRAIN, "label has id 99 outside 0..12"),
    "negative id": (change("label", with_id(-3)), "label_ids", TRAIN, "label has id -3 outside 0..12"),
    "empty label": (change("label", np.zeros_like), "empty", TRAIN, "label is empty"),
    "label shape": (change("label", lambda a: a[1:]), "label_grid", TRAIN, "label has shape 23 x 22 x 20"),
    "label axes": (change("label", None, flipped), "label_grid", TRAIN, "label (LPS) lies up to"),
    "image shape": (change("image", lambda a: a[1:]), "shape", TRAIN, "shape 23 x 22 x 20, most have 24 x 22 x 20"),
    "spacing": (
        change("image", None, lambda a: a @ np.diag([1.1, 1, 1, 1])),
        "spacing_differs",
        TRAIN,
        "image has voxels of",
    ),
    "LPS among RAS": (change("image", None, flipped), "axes", TRAIN, "axes are LPS, most are RAS"),
    "person on both sides": (copy("image", VALID, TRAIN), "leak", TRAIN, "in training and in validation"),
    "file on both sides": (link_validation_into_training, "leak", VALID, "in training"),
    "pair of one image": (pair_with_itself, "same_image", VALID, "an image with itself"),
    "label copied": (
        copy("label", "PhantomBrain_0003_0000", TRAIN),
        "label_copy",
        TRAIN,
        "different images have one label map",
    ),
}
WARNS = {  # what deserves a look, and lets train
    "duplicate": (copy("image", "PhantomBrain_0003_0000", TRAIN), "duplicate", TRAIN, "the same voxels"),
    "label absent": (change("label", without(5)), "label_missing", TRAIN, "is missing in 1 of 6 maps"),
    "label unlikely": (
        change("label", lambda a: np.where((a == 5) & (np.cumsum(a == 5).reshape(a.shape) > 2), 0, a)),
        "label_volume",
        TRAIN,
        "the median is",
    ),
    "oblique": (
        both(lambda role: change(role, None, turned(5))),
        "oblique",
        TRAIN,
        "oblique, 5 degrees off the axes RAS",
    ),
    "sheared": (both(lambda role: change(role, None, sheared)), "sheared", TRAIN, "not orthogonal"),
    "moved": (
        both(lambda role: change(role, None, lambda a: a + np.outer([1, 0, 0, 0], [0, 0, 0, 9.0]))),
        "position",
        TRAIN,
        "off the others by its header",
    ),
    "no orientation": (
        everybody(lambda role, name: patch(252, bytes(4), role, name)),
        "no_orientation",
        TRAIN,
        "qform and sform code 0",
    ),
    "pixdim": (patch(80, struct.pack("<f", 5)), "pixdim", TRAIN, "says another voxel size than the affine"),
    "microns": (
        everybody(lambda role, name: patch(123, b"\x03", role, name)),
        "unit",
        TRAIN,
        "header counts in microns",
    ),
    "validation label missing": (
        without_validation_label,
        "no_label",
        VALID,
        "no label map",
    ),
}


def test_a_healthy_folder_is_ready(folder: Path, check: Check, capsys: pytest.CaptureFixture[str]) -> None:
    checked = check(folder)
    assert (checked.code, checked.bad) == (0, [])
    done = {finding["check"] for finding in checked.report["findings"]}
    assert done == {"shape", "grid", "leak", "duplicate", "files", "initial_dice"}
    assert capsys.readouterr().out.rstrip().endswith("0 errors, 0 warnings: ready to train")


@pytest.mark.parametrize("fault", BREAKS)
def test_what_breaks_training_is_an_error(
    fault: str, folder: Path, check: Check, rewrite: Rewrite, capsys: pytest.CaptureFixture[str]
) -> None:
    plant, name, image, words = BREAKS[fault]
    plant(folder, rewrite)
    checked = check(folder)
    finding = checked.only(name)
    assert checked.code == 1 and finding["level"] == "ERROR" and finding["cure"]
    assert image in finding["where"] and words in finding["what"]
    table = capsys.readouterr().out
    assert image in table and "do not train yet" in table
    assert len(checked.report["subjects"]) == 6  # all others were looked at


@pytest.mark.parametrize("fault", WARNS)
def test_what_deserves_a_look_is_a_warning(fault: str, folder: Path, check: Check, rewrite: Rewrite) -> None:
    plant, name, image, words = WARNS[fault]
    plant(folder, rewrite)
    checked = check(folder)
    finding = checked.only(name)
    assert finding["level"] == "WARN" and finding["cure"]
    assert image in finding["where"] and words in finding["what"]
    assert checked.code == 0 and checked.report["errors"] == 0


def test_all_faults_are_listed_worst_first(
    folder: Path, check: Check, rewrite: Rewrite, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = {"PhantomBrain_0001_0000", "PhantomBrain_0003_0000", VALID}
    for name in missing:
        path_of(folder, "image", name).unlink()
    change("label", without(5))(folder, rewrite)
    change("image", nan, name="PhantomBrain_0004_0000")(folder, rewrite)
    checked = check(folder)
    assert checked.code == 1
    assert {name for f in checked.bad if f["check"] == "unreadable" for name in f["where"]} == missing
    assert {f["check"] for f in checked.bad} >= {"unreadable", "not_finite", "label_missing"}
    levels = [finding["level"] for finding in checked.report["findings"]]
    assert levels == sorted(levels, key=["ERROR", "WARN", "OK"].index)
    lines = capsys.readouterr().out.splitlines()
    table = next(i for i, line in enumerate(lines) if line.startswith("IMAGE"))
    assert lines[table + 1].startswith(tuple(missing))
