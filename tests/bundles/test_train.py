"""train.json: both phases or one, what a run leaves behind, and grids that are not the images'."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import pytest
import torch
from ignite.engine import Events
from monai.bundle import ConfigWorkflow
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.nn.utils import parameters_to_vector

from morphseek_monai import __version__

from .conftest import PICTURES

MakeWorkflow = Callable[..., ConfigWorkflow]


def curves(root: Path) -> list[dict[str, str]]:
    with open(root / "eval" / "curves.csv", newline="") as file:
        return list(csv.DictReader(file))


def phases(root: Path) -> list[tuple[str, int]]:
    return [(row["phase"], int(row["epoch"])) for row in curves(root)]


def models(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "models").iterdir())


def tags(folder: Path) -> dict[str, list[str]]:
    """Names of the scalars and pictures in TensorBoard's files."""
    events = EventAccumulator(str(folder))
    events.Reload()
    content = events.Tags()
    return {kind: content[kind] for kind in ("scalars", "images")}


@pytest.fixture(scope="module")
def trained(bundle: Path, make_workflow: MakeWorkflow, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder in which ``run`` has trained one epoch of each phase."""
    root = tmp_path_factory.mktemp("trained")
    workflow = make_workflow(bundle, root, "train", seed=3, **PICTURES)
    assert workflow.check_properties() == []
    workflow.run()
    workflow.finalize()
    return root


def test_curves_have_both_phases(trained: Path) -> None:
    assert phases(trained) == [("warmup", 1), ("grpo", 1)]
    for row in curves(trained):
        for name in ("loss", "similarity", "regularisation", "kl", "grad_norm", "val_njd_percent", "val_seconds"):
            assert math.isfinite(float(row[name])), name
        assert 0.3 < float(row["val_mean_dice"]) < 0.9
        assert (row["reward"] != "") == (row["dice"] != "") == (row["phase"] == "grpo")


def test_weights_and_checkpoints(trained: Path, bundle: Path, make_workflow: MakeWorkflow) -> None:
    assert models(trained) == ["checkpoint_grpo.pt", "checkpoint_warmup.pt", "model.pt"]
    best = max(curves(trained), key=lambda row: float(row["val_mean_dice"]))
    checkpoint = torch.load(trained / "models" / f"checkpoint_{best['phase']}.pt")
    weights = torch.load(trained / "models" / "model.pt")
    torch.testing.assert_close(weights, checkpoint["model"], rtol=0, atol=0)
    assert checkpoint["best"]["best"] == pytest.approx(float(best["val_mean_dice"]))
    workflow = make_workflow(bundle, trained, "inference")
    workflow.network_def.load_state_dict(weights)


@pytest.mark.parametrize("phase", ["warmup", "grpo"])
def test_provenance(trained: Path, phase: str) -> None:
    record = json.loads((trained / "eval" / f"provenance_{phase}.json").read_text())
    assert record["packages"]["morphseek_monai"] in (__version__, None)  # None from a checkout
    assert record["packages"]["monai"] and record["packages"]["torch"]
    settings = record["settings"]
    assert (settings["seed"], settings["phase"], settings["epochs"], settings["amp"]) == (3, "all", 1, False)


def test_tensorboard(trained: Path) -> None:
    board = trained / "eval" / "tensorboard"
    assert {"loss", "similarity", "kl"} <= set(tags(board / "warmup")["scalars"])
    assert {"loss", "reward", "policy", "dice"} <= set(tags(board / "grpo")["scalars"])
    assert "val_mean_dice" in tags(board / "validate")["scalars"]
    assert tags(board / "validate")["images"] == ["pair"]


def test_warmup_alone(bundle: Path, make_workflow: MakeWorkflow, tmp_path: Path) -> None:
    make_workflow(bundle, tmp_path, "train", phase="warmup").run()
    assert phases(tmp_path) == [("warmup", 1)]
    assert models(tmp_path) == ["checkpoint_warmup.pt", "model.pt"]
    assert not (tmp_path / "eval" / "provenance_grpo.json").exists()


def test_warmup_without_any_label(bundle: Path, make_workflow: MakeWorkflow, phantom: Path, tmp_path: Path) -> None:
    images = [{"image": str(path)} for path in sorted((phantom / "imagesTr").iterdir())]
    data = {"train#dataset#data": images[:2], "validate#dataset#data": images[2:]}
    make_workflow(bundle, tmp_path, "train", phase="warmup", **data).run()
    assert models(tmp_path) == ["checkpoint_warmup.pt", "model.pt"]
    assert [row["val_mean_dice"] for row in curves(tmp_path)] == ["nan"]


def test_grpo_alone_starts_from_given_weights(
    bundle: Path, make_workflow: MakeWorkflow, weights: Path, tmp_path: Path
) -> None:
    workflow = make_workflow(bundle, tmp_path, "train", phase="grpo", init_weights=str(weights))
    trainer, begun = workflow.trainer, []
    trainer.add_event_handler(Events.STARTED, lambda: begun.append(parameters_to_vector(net.parameters()).clone()))
    net = trainer.network
    workflow.run()
    net.load_state_dict(torch.load(weights))
    assert torch.equal(begun[0], parameters_to_vector(net.parameters()))
    assert phases(tmp_path) == [("grpo", 1)]
    assert models(tmp_path) == ["checkpoint_grpo.pt", "model.pt"]
    assert float(curves(tmp_path)[0]["reward_spread"]) > 0


def test_unknown_phase_trains_nothing(bundle: Path, make_workflow: MakeWorkflow, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError) as error:
        make_workflow(bundle, tmp_path, "train", phase="finetune").run()
    assert "'phase' must be 'all' or one of ['grpo', 'warmup'], got 'finetune'" in str(error.value.__cause__)
    assert not (tmp_path / "models").exists()


def test_network_grid_may_differ_from_the_images(
    bundle: Path, make_workflow: MakeWorkflow, weights: Path, tmp_path: Path
) -> None:
    """One axis is the stride, one is padded to it, one is kept."""
    grid: dict[str, Any] = {"spatial_size": [16, 24, -1]}
    workflow = make_workflow(bundle, tmp_path, "train", init_weights=str(weights), **grid)
    workflow.run()
    assert workflow.trainer.state.output[0]["pred"].shape == (3, 16, 24, 32)
    inference = make_workflow(bundle, tmp_path, "inference", **grid)
    evaluator = inference.evaluator
    inference.run()
    (path,) = (tmp_path / "eval" / "registered").glob("disp_0004*")
    native = torch.from_numpy(nib.load(path).get_fdata())
    assert native.shape == (32, 32, 32, 3)
    (item,) = evaluator.state.output
    assert item["pred"].shape == (3, 16, 24, 32)
    expected = item["pred"].double().mean(dim=(1, 2, 3)) * torch.tensor([32 / 16, 32 / 24, 1.0])
    torch.testing.assert_close(native.mean(dim=(0, 1, 2)), expected, rtol=0.05, atol=0.02)
    assert expected[:2].abs().min() > 0.5
