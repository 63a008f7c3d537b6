"""``--tracking``: MONAI's MLflow settings and the bundle's own, with a local store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigWorkflow

mlflow = pytest.importorskip("mlflow")
pytest.importorskip("sqlalchemy")

MakeWorkflow = Callable[..., ConfigWorkflow]
BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "morphseek_phantom"
OWN = str(BUNDLE / "configs" / "tracking_mlflow.json")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tracking", "experiment", "losses"),
    [("mlflow", "monai_experiment", {"train_loss": 2}), (OWN, "morphseek", {"warmup/loss": 2, "grpo/loss": 2})],
    ids=["MONAI", "own"],
)
def test_run_is_tracked(
    tracking: str, experiment: str, losses: dict[str, int], make_workflow: MakeWorkflow, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"spatial_size": [16, 16, 16], "warmup_epochs": 2, "epochs": 2}
    workflow = make_workflow(BUNDLE, tmp_path, "train", tracking=tracking, run_name="a run", **settings)
    workflow.run()
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/eval/mlruns.db")
    found = client.get_experiment_by_name(experiment)
    (run,) = client.search_runs(found.experiment_id)
    assert (run.info.run_name, run.info.status) == ("a run", "FINISHED")
    expected = {**losses, "val_mean_dice": 4}  # one pair an epoch; validation after every epoch of both phases
    counts = {name: len(client.get_metric_history(run.info.run_id, name)) for name in expected}
    assert counts == expected
    assert [file.path.startswith("config_") for file in client.list_artifacts(run.info.run_id)] == [True]
