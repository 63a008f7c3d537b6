"""The record of a run repeats it: versions, settings, command line, config files."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import monai
import pytest
import torch
from ignite.engine import Engine

import morphseek_monai
from morphseek_monai.handlers import Provenance, provenance

CONFIG = {"network_def": {"_target_": "torch.nn.Identity"}, "epochs": 3}


def test_written_when_the_engine_starts(tmp_path: Path) -> None:
    path = tmp_path / "eval" / "provenance.json"
    found: list[bool] = []
    engine = Engine(lambda engine, batch: found.append(path.is_file()))
    Provenance(str(path), {"seed": 3, "device": torch.device("cpu"), "weights": None}).attach(engine)
    assert not path.exists()
    engine.run([0])
    assert found == [True]
    record = json.loads(path.read_text())
    assert record["settings"] == {"seed": 3, "device": "cpu", "weights": None}
    assert record["packages"]["monai"] == monai.__version__
    assert record["packages"]["torch"] == torch.__version__
    assert record["threads"] == torch.get_num_threads()
    datetime.fromisoformat(record["time"])


def test_package_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("morphseek_monai.handlers.run_record.PACKAGES", ("torch", "no-such-package"))
    expected = {"morphseek_monai": morphseek_monai.__version__, "torch": torch.__version__, "no-such-package": None}
    assert provenance({})["packages"] == expected


@pytest.mark.parametrize(
    "argv",
    [
        ["--config_file", "{0}"],
        ["--config_file={0}"],
        ["--config-file={0}"],
        ["--config_file", "['{0}','{1}']"],
        ["--config_file=[{0}, {1}]"],
        ["--seed", "1", "--config_file", '["{0}", "{1}"]', "--epochs", "2"],
    ],
)
def test_config_files_of_a_bundle_run(argv: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [str(tmp_path / name) for name in ("train.json", "more.json")]
    for file in files:
        Path(file).write_text(json.dumps(CONFIG))
    argv = ["/usr/lib/monai/bundle/__main__.py", "run", *(word.format(*files) for word in argv)]
    monkeypatch.setattr("sys.argv", argv)
    record = provenance({})
    named = [file for file in files if any(file in word for word in argv)]
    assert record["configs"] == dict.fromkeys(named, CONFIG)
    assert record["command"] == ["__main__.py", *argv[1:]]


@pytest.mark.parametrize("argv", [["run"], ["run", "--config_file"], ["run", "--config_file", "gone.json"], []])
def test_no_config_file(argv: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["script.py", *argv])
    assert provenance({})["configs"] == {}
