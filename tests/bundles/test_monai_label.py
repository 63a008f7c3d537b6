"""What MONAI Label does to a bundle: it puts its own lists of subjects in, and has no data folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigWorkflow

MakeWorkflow = Callable[..., ConfigWorkflow]


@pytest.fixture(scope="module")
def lists(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Files whose names mean nothing, as a MONAI Label data store hands them over."""
    store = tmp_path_factory.mktemp("store")
    (store / "labels").mkdir()
    entries = []
    for i, image in enumerate(sorted((phantom / "imagesTr").iterdir())):
        entry = {"image": str(store / f"scan {i}.nii.gz"), "label": str(store / "labels" / f"scan {i}.nii.gz")}
        Path(entry["image"]).symlink_to(image)
        Path(entry["label"]).symlink_to(phantom / "labelsTr" / image.name)
        entries.append(entry)
    return {"train#dataset#data": entries[:2], "validate#dataset#data": entries[2:]}


def test_lists_replace_the_folder(
    bundle: Path, make_workflow: MakeWorkflow, lists: dict[str, Any], tmp_path: Path
) -> None:
    nowhere = tmp_path / "nowhere"
    workflow = make_workflow(bundle, tmp_path, "train", dataset_dir=str(nowhere), **lists)
    workflow.run()
    item = workflow.train_dataset[0]
    assert {item["moving_image"], item["fixed_image"]} == {entry["image"] for entry in lists["train#dataset#data"]}
    assert item["labelled"] and item["label"].max() == 12
    assert len(workflow.val_dataset) == 2
    assert (tmp_path / "models" / "model.pt").exists()
    assert not nowhere.exists()


def test_trainer_settings_that_monai_label_overrides(
    bundle: Path, make_workflow: MakeWorkflow, lists: dict[str, Any], tmp_path: Path
) -> None:
    more = {"train#trainer#max_epochs": 2, "train#dataloader#batch_size": 2, "pairs_per_epoch": 2, "phase": "grpo"}
    workflow = make_workflow(bundle, tmp_path, "train", dataset_dir="nowhere", **(lists | more))
    workflow.run()
    assert (workflow.trainer.state.epoch, workflow.trainer.state.iteration) == (2, 2)
    assert len(workflow.trainer.state.output) == 2


def test_one_pair_for_inference(
    bundle: Path, make_workflow: MakeWorkflow, lists: dict[str, Any], weights: Path, tmp_path: Path
) -> None:
    moving, fixed = lists["train#dataset#data"]
    data = [{"fixed": {"image": fixed["image"]}, "moving": {"image": moving["image"]}}]
    make_workflow(
        bundle, tmp_path, "inference", dataset_dir="nowhere", ckpt_path=str(weights), **{"dataset#data": data}
    ).run()
    written = {path.name for path in (tmp_path / "eval" / "registered").glob("*.nii.gz")}
    assert written == {"disp_scan 1_scan 0.nii.gz", "warped_scan 1_scan 0.nii.gz"}
