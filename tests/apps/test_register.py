"""``morphseek register`` as a program: files, exit codes, what it prints, and every flag with a wrong value."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from morphseek_monai.apps.register import register
from morphseek_monai.registration.models.bundles import find_bundle

from .register_runs import QUICK, Outcome, copy_bundle, run, write_pair

FILES = {"warped.nii.gz", "jacobian.nii.gz", "transform.h5", "inverse.h5", "result.json"}
REPORT = {"report.html", "report.png"}


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def pair(scans: Path) -> list[object]:
    return ["--fixed", scans / "fixed.nii.gz", "--moving", scans / "moving.nii.gz"]


@pytest.fixture(scope="module")
def done(pair: list[object], tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, Path]:
    """Everything by default, into a folder that does not exist yet."""
    folder = tmp_path_factory.mktemp("done") / "new" / "folder"
    return run(*pair, "--out", folder, "--bundle", "morphseek_phantom"), folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_success(done: tuple[Outcome, Path]) -> None:
    outcome, folder = done
    assert outcome.code == 0 and outcome.err == ""
    assert re.fullmatch(r"estimated memory: \d+\.\d GiB of \d+\.\d GiB", outcome.estimate)
    *_, verdict, last = outcome.out.splitlines()
    assert re.fullmatch(r"succeeded: similarity 0\.\d{3} before, 0\.\d{3} after", verdict)
    assert re.fullmatch(rf"\d+\.\d s, \d+ MiB; bundle morphseek_phantom; see {re.escape(str(folder))}", last)


def test_files(done: tuple[Outcome, Path], scans: Path) -> None:
    folder = done[1]
    assert names(folder) == FILES | REPORT
    fixed: Any = nib.load(scans / "fixed.nii.gz")
    for name in ("warped", "jacobian"):
        image: Any = nib.load(folder / f"{name}.nii.gz")
        assert image.shape == fixed.shape and np.array_equal(image.affine, fixed.affine)
    page = (folder / "report.html").read_text()
    assert "succeeded" in page and not re.search(r"(src|href)=[\"']https?:", page)


def test_result_json(done: tuple[Outcome, Path], scans: Path) -> None:
    record = json.loads((done[1] / "result.json").read_text())
    weights = find_bundle("morphseek_phantom") / "models/model.pt"
    assert record["verdict"] == "succeeded" and record["fixed"]["path"] == str(scans / "fixed.nii.gz")
    assert record["bundle"]["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    similarity = [record["metrics"][stage]["similarity"] for stage in ("before", "after")]
    assert "similarity {:.3f} before, {:.3f} after".format(*similarity) in done[0].out


def test_positional_arguments_and_no_report(scans: Path, tmp_path: Path) -> None:
    outcome = run(scans / "fixed.nii.gz", scans / "moving.nii.gz", tmp_path / "out", *QUICK)
    assert outcome.code == 0 and names(tmp_path / "out") == FILES


@pytest.mark.parametrize(("limits", "code", "verdict"), [((0.99, 0.1), 3, "doubtful"), ((0.99, 0.98), 1, "failed")])
def test_exit_codes(
    limits: tuple[float, float], code: int, verdict: str, pair: list[object], tmp_path: Path
) -> None:
    bundle = copy_bundle(tmp_path / "bundle", {"thresholds": {"similarity": limits}})
    outcome = run(*pair, "--out", tmp_path / "out", *QUICK, "--bundle", bundle)
    assert outcome.code == code and outcome.err == ""
    assert f"\n  {verdict}: similarity 0." in outcome.out and "look at the report" in outcome.out
    lines = [line for line in outcome.out.splitlines() if not line.startswith("notice: ")]
    assert lines[0].startswith(f"{verdict}: ")
    assert names(tmp_path / "out") == FILES  # the results are there to be looked at
    assert json.loads((tmp_path / "out/result.json").read_text())["verdict"] == verdict


def test_the_uncertainty_is_written_and_taken_away_again(pair: list[object], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "report.html").write_text("of another pair")
    assert run(*pair, "--out", tmp_path, *QUICK, "--uncertainty").code == 0
    assert names(tmp_path) == FILES | {"uncertainty.nii.gz", "notes.txt"}
    assert run(*pair, "--out", tmp_path, *QUICK).code == 0
    assert names(tmp_path) == FILES | {"notes.txt"} and (tmp_path / "notes.txt").read_text() == "mine"


BAD_VALUES = [
    ("fixed", "nowhere.nii.gz", r"fixed image nowhere\.nii\.gz does not exist; correct the path"),
    ("moving", "nowhere.nii.gz", r"moving image nowhere\.nii\.gz does not exist"),
    ("bundle", "nowhere", r"bundle nowhere is no folder of a bundle; give one, or a name of: .*morphseek_phantom"),
    ("affine", "nowhere.txt", r"affine nowhere\.txt does not exist"),
    ("affine", "True", r"affine True does not exist"),
    ("modality", "pet", "fixed image modality must be one of auto, mr, ct, got 'pet'"),
    ("modality", "3", "fixed image modality must be one of auto, mr, ct, got '3'"),
    ("fixed_modality", "MR", "fixed image modality must be one of auto, mr, ct, got 'MR'"),
    ("moving_modality", "mr,ct", "moving image modality must be one of auto, mr, ct, got 'mr,ct'"),
    ("moving_modality", "ct", "moving image is ct, bundle morphseek_phantom was made for mr; choose another --bundle"),
    ("frame", "x", r"fixed image .*fixed\.nii\.gz has 1 volume\(s\), --frame must be 0 to 0, got x"),
    ("fixed_frame", "3", r"fixed image .*fixed\.nii\.gz has 1 volume\(s\), --frame must be 0 to 0, got 3"),
    ("moving_frame", "-1", r"moving image .*moving\.nii\.gz has 1 volume\(s\), --frame must be 0 to 0, got -1"),
    ("steps", "0.0", "steps must be auto or a whole number of at least 0, got 0.0"),
    ("steps", "-2", "steps must be auto or a whole number of at least 0, got -2"),
    ("steps", "many", "steps must be auto or a whole number of at least 0, got 'many'"),
    ("steps", "1.5", "steps must be auto or a whole number of at least 0, got 1.5"),
    ("samples", "-1", "samples must be a whole number of at least 0, got -1"),
    ("samples", "two", "samples must be a whole number of at least 0, got 'two'"),
    ("samples", "1.5", "samples must be a whole number of at least 0, got 1.5"),
    ("refine", "-1", "refine must be auto, off or a whole number of at least 1, got -1"),
    ("refine", "True", "refine must be auto, off or a whole number of at least 1, got True"),
    ("seed", "x", "seed must be a whole number of at least 0, got 'x'"),
    ("seed", "-1", "seed must be a whole number of at least 0, got -1"),
    ("device", "gpu7", "device must be auto, cpu or cuda.* got 'gpu7'"),
    ("device", "cuda:99", "device must be auto, cpu or cuda.* got 'cuda:99'"),
    ("device", "meta", "device must be auto, cpu or cuda.* got 'meta'; correct it"),
    ("device", "1.5", "device must be auto, cpu or cuda.* got '1.5'"),
    ("max_memory", "lots", "max_memory must be a size such as 8G or 900M, got 'lots'"),
    ("max_memory", "-8G", "max_memory must be a size such as 8G or 900M, got '-8G'"),
    ("max_memory", "8", "max_memory must be a size such as 8G or 900M, got '8'"),
    ("max_memory", "20M", r"max_memory is .*, the registration needs an estimated .* even on the coarsest grids"),
    ("fixed_mask", "nowhere.nii", r"fixed mask .*nowhere\.nii does not exist; correct the path"),
    ("moving_mask", "nowhere.nii", r"moving mask .*nowhere\.nii does not exist; correct the path"),
    ("initial_transform", "nowhere.h5", "initial_transform takes the place of affine, got affine off too; give one"),
    ("fixed_points", "p.csv", "fixed_points goes with moving_points, the same landmarks line by line; give both"),
    ("moving_points", "p.csv", "fixed_points goes with moving_points, the same landmarks line by line; give both"),
    ("space", "RAS", "space is that of fixed_points and moving_points, got RAS alone; leave it out"),
    ("transforms", "itk,minc", "transforms must be of itk, .*, got 'minc'; write --transforms itk,greedy"),
    ("report", "maybe", "report must be True or False, got 'maybe'"),
    ("uncertainty", "maybe", "uncertainty must be True or False, got 'maybe'"),
]


@pytest.mark.parametrize(("flag", "value", "message"), BAD_VALUES)
def test_a_wrong_value_is_one_line_and_2(
    flag: str, value: str, message: str, pair: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = run(*pair, "--out", "out", *QUICK, f"--{flag}", value)
    assert re.match(message, outcome.error.replace(f"{tmp_path}/", "")), outcome.err  # paths are absolute
    assert not Path("out").exists() or names(Path("out")) == set()


def test_every_flag_with_values_that_can_be_wrong_is_tried() -> None:
    tried = {flag for flag, _, _ in BAD_VALUES}
    assert set(inspect.signature(register).parameters) - tried == {"out"}


class TestOut:
    """``--out``, looked at before anything is computed."""

    @pytest.mark.parametrize("name", ["file", "file/under/it"])
    def test_where_no_folder_can_be(self, name: str, pair: list[object], tmp_path: Path) -> None:
        (tmp_path / "file").write_text("mine")
        outcome = run(*pair, "--out", tmp_path / name, *QUICK)
        assert re.match(rf"out {tmp_path / name} cannot be written \(.*\); give a writable folder", outcome.error)
        assert (tmp_path / "file").read_text() == "mine"

    def test_where_nothing_can_be_written(
        self, pair: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def denied(path: Path, *_: Any, **__: Any) -> None:  # root may write everywhere
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(Path, "touch", denied)
        assert f"out {tmp_path} cannot be written (Permission denied)" in run(*pair, "--out", tmp_path, *QUICK).error

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            (["--out", ""], "out must be a folder, got ''; name one"),
            (["--out"], "register: --out needs a value, got none; write --out VALUE, or leave it out"),
            (["--noout"], "register: --noout needs a value, got none; write --noout VALUE, or leave it out"),
            (["--out", "--seed=1"], "register: --out needs a value, got none; write --out VALUE, or leave it out"),
        ],
    )
    def test_without_a_name(
        self, given: list[str], said: str, pair: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert run(*pair, *QUICK, *given).error == said
        assert list(tmp_path.iterdir()) == []

    def test_a_number_is_a_name(self, pair: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        assert run(*pair, *QUICK, "--out", "7").code == 0
        assert names(tmp_path / "7") == FILES

    def test_it_is_required(self, pair: list[object]) -> None:
        outcome = run(*pair, *QUICK)
        assert outcome.code == 2 and "required argument: out" in outcome.err and outcome.out == ""


def test_an_unknown_flag_is_refused_before_anything_is_computed(pair: list[object], tmp_path: Path) -> None:
    outcome = run(*pair, "--out", tmp_path / "out", *QUICK, "--sample", "4")
    assert outcome.code == 2 and "--sample" in outcome.err and outcome.out == ""
    assert not (tmp_path / "out").exists()


class TestAffine:
    def matrix(self, folder: Path, matrix: Any) -> Path:
        np.savetxt(folder / "affine.txt", matrix)
        return folder / "affine.txt"

    def test_a_file_is_used_as_it_is(self, pair: list[object], tmp_path: Path) -> None:
        given = np.eye(4)
        given[:3, 3] = [3, -2, 1]
        assert run(*pair, "--out", tmp_path, *QUICK, "--affine", self.matrix(tmp_path, given)).code == 0
        record = json.loads((tmp_path / "result.json").read_text())["affine"]
        np.testing.assert_allclose(record["matrix_ras_fixed_to_moving"], given, atol=1e-9)
        assert record["start"] == str(tmp_path / "affine.txt")

    def test_a_mirror_is_refused(self, pair: list[object], tmp_path: Path) -> None:
        file = self.matrix(tmp_path, np.diag([-1.0, 1, 1, 1]))
        assert "must not mirror" in run(*pair, "--out", tmp_path / "o", *QUICK, "--affine", file).error

    def test_a_field_is_no_affine(self, pair: list[object], done: tuple[Outcome, Path], tmp_path: Path) -> None:
        error = run(*pair, "--out", tmp_path, *QUICK, "--affine", done[1] / "transform.h5").error
        assert "transform.h5 must be linear, got a DisplacementFieldTransform in it" in error

    def test_an_image_is_no_affine(self, pair: list[object], scans: Path, tmp_path: Path) -> None:
        error = run(*pair, "--out", tmp_path, *QUICK, "--affine", scans / "fixed.nii.gz").error
        assert "fixed.nii.gz must be an image of displacements" in error


def test_contrasts_masks_a_start_and_landmarks(scans: Path, done: tuple[Outcome, Path], tmp_path: Path) -> None:
    image: Any = nib.load(scans / "fixed.nii.gz")
    nib.save(nib.Nifti1Image((np.asarray(image.dataobj) > 0).astype(np.uint8), image.affine), tmp_path / "mask.nii.gz")
    points = tmp_path / "points.csv"
    middle = nib.affines.apply_affine(image.affine, np.array(image.shape) / 2)
    np.savetxt(points, [middle, middle + 4], delimiter=",", header="x,y,z", comments="")
    fixed, moving = (f"{scans / name}.nii.gz,{scans / name}.nii.gz" for name in ("fixed", "moving"))
    outcome = run(
        "--fixed", fixed, "--moving", moving, "--out", tmp_path / "out", *QUICK, "--affine", "auto", "--steps", 0,
        "--refine", 1, "--initial_transform", done[1] / "transform.h5", "--fixed_mask", tmp_path / "mask.nii.gz",
        "--fixed_points", points, "--moving_points", points, "--space", "RAS",
    )  # fmt: skip
    assert outcome.code == 0, outcome
    assert names(tmp_path / "out") == FILES | {"warped_2.nii.gz"}
    record = json.loads((tmp_path / "out/result.json").read_text())
    assert record["landmarks"]["count"] == 2 and record["fixed"]["mask"] == str(tmp_path / "mask.nii.gz")
    assert record["moving"]["contrasts"] == [str(scans / "moving.nii.gz")] * 2
    assert record["affine"]["start"] == str(done[1] / "transform.h5") and "initial" in record["metrics"]


def empty(weights: Path) -> None:
    weights.write_bytes(b"")


def cut(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[:5000])


def of_another_network(weights: Path) -> None:
    state = torch.load(weights, weights_only=True)
    torch.save({name: value[..., :1] for name, value in state.items()}, weights)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (empty, "is not a readable checkpoint of tensors"),
        (cut, "is not a readable checkpoint of tensors"),
        (of_another_network, "is a checkpoint of another architecture than MorphSeekNet"),
        (Path.unlink, "does not exist"),
    ],
)
def test_weights_that_cannot_be_used(
    spoil: Callable[[Path], object], message: str, pair: list[object], tmp_path: Path
) -> None:
    bundle = copy_bundle(tmp_path / "bundle")
    spoil(bundle / "models/model.pt")
    error = run(*pair, "--out", tmp_path / "out", *QUICK, "--bundle", bundle).error
    assert error.startswith(f"bundle {bundle} cannot be used: ") and message in error
    assert names(tmp_path / "out") == set()


class TestHelp:
    def test_it_shows_every_flag_with_a_text_of_its_own(self) -> None:
        outcome = run("--help")
        assert outcome.code == 0
        shown = " ".join((outcome.out + outcome.err).split())
        texts = flag_texts()
        assert list(texts) == list(inspect.signature(register).parameters)
        for text in texts.values():
            assert text.split(".")[0] in shown
        assert len(set(texts.values())) == len(texts)

    def test_moving_and_fixed_are_told_apart(self) -> None:
        texts = flag_texts()
        for flag in ("fixed", "fixed_modality", "fixed_frame"):
            assert "moving" not in texts[flag]
            assert "fixed" not in texts[flag.replace("fixed", "moving")]

    def test_exit_codes_are_explained(self) -> None:
        text = inspect.getdoc(register) or ""
        assert re.search(r"Exit code 0: succeeded; 3: doubtful; 1: failed;\s+2: the input cannot be used", text)


def flag_texts() -> dict[str, str]:
    """The docstring's line or lines about each argument."""
    section = (inspect.getdoc(register) or "").split("Args:\n")[1].split("\n\n")[0]
    found = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", section, re.M)
    return {name: " ".join(text.split()) for name, text in found}


def test_transforms_of_other_programs(pair: list[object], tmp_path: Path) -> None:
    """What is asked for is there, for both directions, and means the same; what cannot be written loses nothing."""
    import SimpleITK as sitk

    outcome = run(*pair, "--out", tmp_path / "o", *QUICK, "--refine", "off", "--transforms", "itk-field,greedy")
    assert outcome.code in (0, 1, 3) and (tmp_path / "o" / "result.json").is_file()
    names = {path.name for path in (tmp_path / "o" / "transforms").iterdir()}
    assert {"itk-field.nii.gz", "itk-field_inverse.nii.gz", "greedy_warp.nii.gz"} <= names
    field = sitk.ReadImage(str(tmp_path / "o" / "transforms" / "itk-field.nii.gz"), sitk.sitkVectorFloat64)
    point = field.TransformIndexToPhysicalPoint([20, 24, 22])
    expected = sitk.ReadTransform(str(tmp_path / "o" / "transform.h5")).TransformPoint(point)
    assert sitk.DisplacementFieldTransform(field).TransformPoint(point) == pytest.approx(expected, abs=1e-3)
    wrong = run(*pair, "--out", tmp_path / "p", *QUICK, "--transforms", "itk,minc")
    assert wrong.error.startswith("transforms must be of itk, ") and not list((tmp_path / "p").iterdir())
