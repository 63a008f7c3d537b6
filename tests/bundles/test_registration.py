"""evaluate.json and inference.json on one set of weights: their files agree with each other and with foreign tools."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.bundle import ConfigWorkflow
from numpy.typing import NDArray

from morphseek_monai.fields import njd_percent, sdlogj, sdlogj_l2r

MakeWorkflow = Callable[..., ConfigWorkflow]
PAIRS = [("0003", "0004"), ("0004", "0003")]  # fixed, moving
METRICS = ("val_mean_dice", "val_njd_percent", "val_sdlogj", "val_sdlogj_l2r", "val_hd95")
REGULARITY = {"val_njd_percent": njd_percent, "val_sdlogj": sdlogj, "val_sdlogj_l2r": sdlogj_l2r}


class Results(NamedTuple):
    metrics: Path
    registered: Path
    evaluation: Path


@pytest.fixture(scope="module")
def results(
    bundle: Path, make_workflow: MakeWorkflow, weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> Results:
    """What evaluation and inference of a bundle wrote."""
    root = tmp_path_factory.mktemp("results")
    for configs in (("train", "evaluate"), ("inference",)):
        workflow = make_workflow(bundle, root, *configs, ckpt_path=str(weights))
        assert workflow.check_properties() == []
        workflow.run()
        workflow.finalize()
    return Results(root / "eval" / "metrics", root / "eval" / "registered", root / "eval")


def rows(results: Results, metric: str) -> list[dict[str, str]]:
    with open(results.metrics / f"{metric}_raw.csv", newline="") as file:
        return list(csv.DictReader(file))


def name(fixed: str, moving: str) -> str:
    return f"{fixed}_0000_{moving}_0000"


def subject(phantom: Path, folder: str, case: str) -> Any:
    return nib.load(phantom / folder / f"PhantomBrain_{case}_0000.nii.gz")


def array(image: Any) -> NDArray[Any]:
    return np.asarray(image.dataobj)


def field(results: Results, pair: tuple[str, str]) -> NDArray[np.float32]:
    return array(nib.load(results.registered / f"disp_{name(*pair)}.nii.gz"))


@pytest.mark.parametrize("metric", METRICS)
def test_one_row_a_pair(results: Results, metric: str) -> None:
    table = rows(results, metric)
    assert [row["filename"] for row in table] == [f"PhantomBrain_{f}_0000 <- PhantomBrain_{m}_0000" for f, m in PAIRS]
    labels = 12 if metric in ("val_mean_dice", "val_hd95") else 1
    assert all(len(row) == labels + 2 for row in table)
    means = [float(row["mean"]) for row in table]
    assert min(means) > 0 and means[0] != means[1]


def test_summary_and_pictures(results: Results) -> None:
    summary = dict(line.split(",") for line in (results.metrics / "metrics.csv").read_text().split())
    assert set(summary) == {*METRICS, "val_seconds"}
    for metric in METRICS:
        mean = np.mean([float(row["mean"]) for row in rows(results, metric)])
        assert float(summary[metric]) == pytest.approx(mean, abs=1e-5)
    assert 0 < float(summary["val_seconds"]) < 60
    assert (results.evaluation / "registration.png").read_bytes().startswith(b"\x89PNG")
    record = json.loads((results.evaluation / "provenance_evaluate.json").read_text())
    assert record["settings"]["steps"] == 3
    assert not (results.evaluation / "curves.csv").exists()


def warp_in_numpy(label: NDArray[Any], disp: NDArray[Any]) -> NDArray[Any]:
    """Nearest neighbour, background outside the image."""
    grid = np.stack(np.meshgrid(*map(np.arange, label.shape), indexing="ij"), axis=-1)
    nearest = np.floor(grid + disp.astype(np.float64) + 0.5).astype(int)
    inside = ((nearest >= 0) & (nearest < label.shape)).all(axis=-1)
    clipped = tuple(np.moveaxis(nearest.clip(0, np.array(label.shape) - 1), -1, 0))
    return np.where(inside, label[clipped], 0)


@pytest.mark.parametrize("pair", PAIRS, ids="<-".join)
def test_dice_is_that_of_the_written_files(results: Results, phantom: Path, pair: tuple[str, str]) -> None:
    fixed, moving = (array(subject(phantom, "labelsTr", case)) for case in pair)
    warped = warp_in_numpy(moving, field(results, pair))
    np.testing.assert_array_equal(array(nib.load(results.registered / f"warped_label_{name(*pair)}.nii.gz")), warped)
    expected = []
    for label in range(1, 13):
        a, b = fixed == label, warped == label
        both_have_it = a.any() and (moving == label).any()  # Learn2Reg's rule
        expected.append(2 * (a & b).sum() / (a.sum() + b.sum()) if both_have_it else np.nan)
    row = rows(results, "val_mean_dice")[PAIRS.index(pair)]
    got = [float(row[f"class{i}"]) for i in range(12)]
    np.testing.assert_allclose(got, expected, atol=1e-4)
    assert float(row["mean"]) == pytest.approx(np.nanmean(expected), abs=1e-4)
    still = [
        2 * ((fixed == i) & (moving == i)).sum() / ((fixed == i).sum() + (moving == i).sum()) for i in range(1, 13)
    ]
    assert np.abs(np.array(still) - expected).max() > 0.02


@pytest.mark.parametrize("metric", REGULARITY)
def test_regularity_is_that_of_the_written_field(results: Results, metric: str) -> None:
    for pair, row in zip(PAIRS, rows(results, metric)):
        disp = torch.from_numpy(field(results, pair).copy()).permute(3, 0, 1, 2)[None]
        assert float(row["mean"]) == pytest.approx(float(REGULARITY[metric](disp)), rel=1e-4)


def test_files_of_inference(results: Results) -> None:
    kinds = {"disp": ".nii.gz", "warped": ".nii.gz", "warped_label": ".nii.gz", "transform": ".h5"}
    expected = {f"{kind}_{name(*pair)}{suffix}" for kind, suffix in kinds.items() for pair in PAIRS}
    assert {path.name for path in results.registered.iterdir()} == expected | {"provenance.json"}


@pytest.mark.parametrize("pair", PAIRS, ids="<-".join)
def test_headers(results: Results, phantom: Path, pair: tuple[str, str]) -> None:
    disp = nib.load(results.registered / f"disp_{name(*pair)}.nii.gz")
    assert (disp.shape, disp.get_data_dtype()) == ((32, 32, 32, 3), np.float32)
    np.testing.assert_array_equal(disp.affine, np.eye(4))
    fixed = subject(phantom, "imagesTr", pair[0])
    for kind, dtype in (("warped", np.float32), ("warped_label", np.uint8)):
        written = nib.load(results.registered / f"{kind}_{name(*pair)}.nii.gz")
        assert (written.shape, written.get_data_dtype()) == ((32, 32, 32), dtype)
        np.testing.assert_array_equal(written.affine, fixed.affine)


@pytest.mark.parametrize("pair", PAIRS, ids="<-".join)
def test_itk_warps_as_we_do(results: Results, phantom: Path, pair: tuple[str, str]) -> None:
    fixed, moving = (
        sitk.ReadImage(str(phantom / "imagesTr" / f"PhantomBrain_{case}_0000.nii.gz"), sitk.sitkFloat32)
        for case in pair
    )
    transform = sitk.ReadTransform(str(results.registered / f"transform_{name(*pair)}.h5"))
    theirs = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, transform, sitk.sitkLinear, np.nan)).T
    ours = array(nib.load(results.registered / f"warped_{name(*pair)}.nii.gz"))
    inside = np.isfinite(theirs)
    intensities = sitk.GetArrayFromImage(moving)
    assert inside.mean() > 0.7
    assert np.abs(theirs - ours)[inside].max() < 1e-3 * np.ptp(intensities)
    assert np.abs(ours - intensities.T)[inside].max() > 0.1 * np.ptp(intensities)
