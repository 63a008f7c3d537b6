"""``result.json``: enough to repeat a registration, in plain JSON, and true."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from morphseek_monai import __version__
from morphseek_monai.inference.find import InferenceOptions
from morphseek_monai.registration.models.model import RegistrationModel
from morphseek_monai.registration.options import RegisterOptions
from morphseek_monai.registration.record import versions
from morphseek_monai.registration.register import register

from ..scenes import Brains, turned


@pytest.fixture(scope="module")
def files(brains: Brains, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("record")
    paths = [folder / "fixed.nii.gz", folder / "moving.nii.gz"]
    for subject, path in enumerate(paths):
        nib.save(nib.Nifti1Image(brains.arrays[subject].astype(np.int16), brains.affine), path)
    return paths


@pytest.fixture(scope="module")
def record(files: list[Path], model: RegistrationModel) -> dict[str, Any]:
    """As it is read from the file: tuples are lists, nothing is left out."""
    options: dict[str, Any] = {"affine": turned((0, 0, 3), (1, 2, 3)), "seed": 7, "max_memory": "100G"}
    result = register(*files, bundle=model, search=InferenceOptions(samples=1), moving_modality="mr", **options)
    whole = json.loads(json.dumps(result.record, allow_nan=False))
    assert whole == result.record or json.dumps(whole) == json.dumps(result.record)
    return dict(whole)


def test_sections(record: dict[str, Any]) -> None:
    assert list(record) == [
        *("verdict", "checks", "metrics", "notices", "fixed", "moving", "outside", "affine", "network", "bundle"),
        *("seed", "arguments", "seconds", "estimated_memory_mib", "peak_memory_mib", "versions"),
    ]


def test_arguments_repeat_the_registration(
    record: dict[str, Any], files: list[Path], model: RegistrationModel
) -> None:
    arguments = dict(record["arguments"])
    arguments["affine"] = np.array(arguments["affine"])
    options = RegisterOptions(**arguments)
    assert options.bundle == model.name
    again = register(record["fixed"]["path"], record["moving"]["path"], options, bundle=model)
    assert again.record["metrics"] == record["metrics"]
    assert again.record["affine"]["matrix_ras_fixed_to_moving"] == record["affine"]["matrix_ras_fixed_to_moving"]


def test_scans_are_described(record: dict[str, Any], files: list[Path], brains: Brains) -> None:
    for role, path in zip(("fixed", "moving"), files):
        scan = record[role]
        assert scan["path"] == str(path) and scan["size"] == [48, 48, 48] and scan["spacing"] == [4, 4, 4]
        assert scan["affine"] == brains.affine.tolist() and scan["dtype"] == "int16" and scan["modality"] == "mr"
    assert "(guessed)" in record["fixed"]["intensity"] and "(guessed)" not in record["moving"]["intensity"]


def test_checks_are_those_of_the_verdict(record: dict[str, Any]) -> None:
    assert {"name", "value", "unit", "outcome", "limits", "note"} == set(record["checks"][0])
    worst = {"succeeded": 0, "doubtful": 1, "failed": 2}
    assert worst[record["verdict"]] == max(worst[check["outcome"]] for check in record["checks"])
    assert list(record["metrics"]) == ["before", "affine", "network", "optimiser", "after"]
    folding = next(check["value"] for check in record["checks"] if check["name"] == "folding")
    assert record["metrics"]["after"]["njd_percent"] == folding


def test_network_and_bundle(record: dict[str, Any], model: RegistrationModel) -> None:
    network = record["network"]
    # the fixed head is longer than the 40 voxels of the training: larger voxels, and a margin around it
    assert all(n % 16 == 0 for n in network["size"]) and 4 <= network["spacing"][0] < 6
    assert network["steps"] == model.network.steps
    assert len(network["scores"]) == 2  # the mean, and one sample
    assert network["field"]["size"] == [48, 48, 48]
    assert record["bundle"]["sha256"] == model.sha256 and record["bundle"]["device"] == "cpu"
    assert record["bundle"]["made_data"] == "generated phantoms of a brain"
    words = "were trained on generated phantoms of a brain and on no scan of a patient"
    assert len([notice for notice in record["notices"] if words in notice]) == 1
    assert record["seed"] == 7 and record["estimated_memory_mib"] > 100


def test_seconds_of_every_stage(record: dict[str, Any]) -> None:
    assert list(record["seconds"]) == ["read", "align", "network", "optimise", "native grid", "warp", "judge"]
    assert all(0 <= seconds < 600 for seconds in record["seconds"].values())


def test_versions() -> None:
    found = versions()
    assert found["morphseek_monai"] == __version__ and found["torch"] == importlib.metadata.version("torch")
    assert {"python", "monai", "itk", "nibabel", "numpy"} <= set(found)
