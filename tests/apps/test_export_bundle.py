"""Exported bundles at work, in processes in which importing morphseek_monai is an error."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from morphseek_monai import __version__
from morphseek_monai.apps.main import main

from .. import programs

ROOT = Path(__file__).resolve().parents[2]
ACCEPTANCE = ROOT.parent / "shared" / "acceptance"
NAMES = ("morphseek_phantom", "morphseek_brain_mri_oasis")
SMALL = {"num_labels": 13, "warmup_epochs": 1, "epochs": 1, "pairs_per_epoch": 1, "val_interval": 1, "trajectories": 2}
CPU = {"amp": False, "device": "$torch.device('cpu')"}

WORKFLOWS = """
import json, sys
from monai.bundle import ConfigWorkflow, ckpt_export

names, overrides = json.loads(sys.argv[1]), json.loads(sys.argv[2])
for name in names:
    files = [f"configs/{part}.json" for part in name.split("+")]
    kind = "infer" if name == "inference" else "train"
    workflow = ConfigWorkflow(files, "configs/metadata.json", logging_file=False, workflow_type=kind, **overrides[name])
    workflow.initialize()
    assert workflow.check_properties() == [], name
    workflow.run()
    workflow.finalize()
ckpt_export("network_def", "eval/model.ts", "models/model.pt", "configs/metadata.json", "configs/inference.json")
assert not any(module.split(".")[0] == "morphseek_monai" for module in sys.modules)
"""

# what MONAI Label 0.8.5 does with each bundle of its app, and then with each request (tasks/infer/bundle.py)
MONAI_LABEL = """
import contextlib, json, sys
import torch
from monai.bundle import ConfigParser

class Task:
    def __init__(self, path):
        self.path, self.parser = path, ConfigParser()
        with self.scripts():
            self.parser.read_config(path + "/configs/inference.json")
            self.parser.config["bundle_root"] = path
            self.parser.config["device"] = torch.device("cpu")
            self.network = self.parser.get_parsed_content("network_def", instantiate=True)
        self.network.load_state_dict(torch.load(path + "/models/model.pt", map_location="cpu"))

    @contextlib.contextmanager
    def scripts(self):
        sys.path.insert(0, self.path)
        for name in [name for name in sys.modules if name == "scripts" or name.startswith("scripts.")]:
            del sys.modules[name]
        yield
        sys.path.remove(self.path)

    def request(self, image):
        with self.scripts():
            before = self.parser.get_parsed_content("preprocessing", instantiate=True)
        with self.scripts():
            inferer = self.parser.get_parsed_content("inferer", instantiate=True)
        data = before({"image": image})
        pair = torch.stack([data["image"][0], data["image"][0].flip(0)])[None]
        with torch.no_grad():
            ddf = inferer(pair, self.network.eval())
            scripted = torch.jit.script(self.network)(pair)
        with self.scripts():
            after = self.parser.get_parsed_content("postprocessing", instantiate=True)
        parts = [self.network, *before.transforms, *after.transforms]
        own = [type(part) for part in parts if type(part).__module__.startswith("scripts")]
        off = (scripted - ddf).abs()  # other kernels, and a sample that rounds into the next voxel
        assert off.mean() < 1e-5 and off.max() < 0.02, (off.mean(), off.max())
        files = [kind.__init__.__code__.co_filename for kind in own]
        return {"shape": list(ddf.shape), "largest": float(ddf.abs().max()), "files": files}

tasks = [Task(path) for path in sys.argv[2:]]
print(json.dumps([task.request(sys.argv[1]) for task in (*tasks, *tasks)]))
"""


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two bundles with weights, exported by the command."""
    folder = tmp_path_factory.mktemp("exports")
    for name in NAMES:
        main(["export-bundle", name, "--out", str(folder)])
    return [folder / name for name in NAMES]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the package cannot be imported, wherever it is installed."""
    poison = tmp_path_factory.mktemp("poison")
    (poison / "morphseek_monai").mkdir()
    (poison / "morphseek_monai" / "__init__.py").write_text("raise ImportError('morphseek_monai is out of reach')\n")
    path = os.pathsep.join([str(poison), os.environ.get("PYTHONPATH", "")])
    return os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}


def run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    result = programs.run(command, folder, environment, timeout=600)
    assert result.returncode == 0, (result.stdout + result.stderr)[-3000:]
    return result.stdout


def test_command_prints_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["export-bundle", str(ROOT / "bundles" / "morphseek_phantom"), f"--out={tmp_path}"])
    assert capsys.readouterr().out.strip() == str(tmp_path / "morphseek_phantom")
    with pytest.raises(SystemExit) as caught:
        main(["export-bundle", "morphseek_phantom", "--out", str(tmp_path)])
    assert caught.value.code == 2
    assert capsys.readouterr().err.endswith("give another --out, or --overwrite True to replace it\n")
    main(["export-bundle", "morphseek_phantom", "--out", str(tmp_path), "--overwrite"])


@pytest.mark.slow
def test_package_is_out_of_reach(environment: dict[str, str], tmp_path: Path) -> None:
    """Or the tests below would show nothing."""
    result = programs.run(["-c", "import morphseek_monai"], tmp_path, environment)
    assert "morphseek_monai is out of reach" in result.stderr


@pytest.mark.slow
def test_train_evaluate_infer_export(phantom: Path, environment: dict[str, str], tmp_path: Path) -> None:
    main(["export-bundle", "morphseek_phantom", "--out", str(tmp_path)])
    bundle = tmp_path / "morphseek_phantom"
    common: dict[str, Any] = {"dataset_dir": str(phantom), **CPU}
    overrides = dict.fromkeys(["train", "train+evaluate"], common | SMALL) | {"inference": common}
    run(["-c", WORKFLOWS, json.dumps(list(overrides)), json.dumps(overrides)], bundle, environment)
    assert {path.name for path in (bundle / "models").glob("*.pt")} == {
        "model.pt",
        "checkpoint_warmup.pt",
        "checkpoint_grpo.pt",
    }
    assert (bundle / "eval" / "curves.csv").read_text().count("\n") == 3
    assert (bundle / "eval" / "metrics" / "val_mean_dice_raw.csv").exists()
    assert len(list((bundle / "eval" / "registered").glob("disp_*.nii.gz"))) == 2
    assert (bundle / "eval" / "model.ts").exists()
    record = json.loads((bundle / "eval" / "provenance_grpo.json").read_text())
    assert record["packages"]["morphseek_monai"] == __version__


@pytest.mark.slow
def test_command_of_the_readme(exports: list[Path], phantom: Path, environment: dict[str, str], tmp_path: Path) -> None:
    command = ["-m", "monai.bundle", "run", "inferring", "--config_file", "configs/inference.json"]
    assert "python " + " ".join(command) in (exports[0] / "docs" / "README.md").read_text()
    command += ["--dataset_dir", str(phantom), "--output_dir", str(tmp_path), "--amp", "False"]
    run(command, exports[0], environment)
    assert len(list(tmp_path.glob("disp_*.nii.gz"))) == 2


@pytest.mark.slow
def test_monai_label_loads_several(
    exports: list[Path], phantom: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """Every bundle has its own package ``scripts``; each keeps to its own, in whatever order they are asked."""
    image = str(next((phantom / "imagesTr").iterdir()))
    out = run(["-c", MONAI_LABEL, image, *map(str, exports)], tmp_path, environment)
    answers = json.loads(out.splitlines()[-1])
    assert len(answers) == 4
    for answer, bundle in zip(answers, [*exports, *exports], strict=True):
        grid = json.loads((bundle / "configs" / "inference.json").read_text())["spatial_size"]
        assert answer["shape"] == [1, 3, *(32 if size == -1 else size for size in grid)] and answer["largest"] > 0.1
        assert len(answer["files"]) == 3
        assert all(Path(file).is_relative_to(bundle / "scripts") for file in answer["files"])
