"""docs/benchmarks/tools.py: figures, resuming, failures, tables; no tool is needed."""

from __future__ import annotations

import importlib
import json
import math
import re
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from morphseek_monai.data import label_names, validation_pairs
from morphseek_monai.fields import resize_ddf

from .. import programs

BENCHMARKS = Path(__file__).resolve().parents[2] / "docs" / "benchmarks"
PAGE = (BENCHMARKS / "tools.md").read_text(encoding="utf-8")
sys.path.insert(0, str(BENCHMARKS))  # where Python puts it when the script is run
tools = importlib.import_module("tools")
measure, network, report, results, tool = (
    importlib.import_module(f"comparison.{name}") for name in ("measure", "network", "report", "results", "tool")
)


class Shift(tool.Tool):  # type: ignore[misc,name-defined]
    """Moves by a voxel; fails on fixed images whose path contains ``fails_on``."""

    version, settings = "shift 1.0", "one voxel"

    def __init__(self, fails_on: str = "nothing", own_shift: int = 1) -> None:
        self.fails_on, self.own_shift = fails_on, own_shift
        self.calls: list[str] = []

    def register(self, fixed: str, moving: str) -> Any:
        """One voxel along the first axis; the resampler may do something else."""
        self.calls.append(fixed)
        if self.fails_on in fixed:
            raise RuntimeError("did not converge\nand more")
        ddf = torch.zeros(1, 3, *nib.load(fixed).shape)
        ddf[:, 0] = 1
        return tool.Registration(ddf, lambda path: np.roll(nib.load(path).get_fdata(), -self.own_shift, axis=0))


@pytest.fixture
def run_shift(phantom: Path, tmp_path: Path) -> Any:
    """``run_shift(shift, name="shift")`` -> (failures, results) on the phantom's pairs, in one file."""
    store = results.Results(tmp_path / "tools.csv")

    def run(shift: Shift, name: str = "shift") -> tuple[int, Any]:
        pairs, names = validation_pairs(phantom), label_names(phantom)
        return measure.measure_pairs(name, shift, pairs, names, store, threads=1), store

    return run


def test_rows_hold_the_figures_of_the_field(run_shift: Any, phantom: Path) -> None:
    failed, store = run_shift(Shift())
    pair = validation_pairs(phantom)[0]
    moving, fixed = (nib.load(pair[end]["label"]).get_fdata().astype(int) for end in ("moving", "fixed"))
    moved = np.concatenate([moving[1:], np.zeros_like(moving[:1])])
    present = [i for i in range(1, len(label_names(phantom))) if (moving == i).any() and (fixed == i).any()]
    dices = [200 * ((moved == i) & (fixed == i)).sum() / ((moved == i).sum() + (fixed == i).sum()) for i in present]
    first = store.rows()[0]
    assert failed == 0
    assert first.pair == (pair["fixed"]["id"], pair["moving"]["id"])
    assert first.dice_percent == pytest.approx(np.mean(dices), rel=1e-5)
    assert first.own_dice_percent == pytest.approx(first.dice_percent, abs=0.01)
    assert (first.njd_percent, first.sdlogj, first.threads) == (0, pytest.approx(0, abs=1e-5), 1)
    assert first.seconds > 0
    structures = {key[3]: dice for key, dice in store.structures().items() if key[1:3] == first.pair}
    assert structures == pytest.approx({label_names(phantom)[i]: dice for i, dice in zip(present, dices)}, abs=1e-3)


def test_a_wrong_conversion_shows_in_the_own_dice(run_shift: Any) -> None:
    _, store = run_shift(Shift(own_shift=-1))
    assert abs(store.rows()[0].own_dice_percent - store.rows()[0].dice_percent) > 1


def test_distances_are_in_millimetres(phantom: Path, tmp_path: Path) -> None:
    pair = {end: dict(subject) for end, subject in validation_pairs(phantom)[0].items()}
    scale = {}
    for factor in (1, 3):
        for end, subject in pair.items():
            image = nib.load(validation_pairs(phantom)[0][end]["label"])
            affine = image.affine @ np.diag([factor, factor, factor, 1])
            subject["label"] = str(tmp_path / f"{end}{factor}.nii.gz")
            nib.save(nib.Nifti1Image(np.asanyarray(image.dataobj), affine), subject["label"])
        field = tool.Registration(torch.zeros(1, 3, *image.shape))
        scale[factor] = measure.judge(field, pair, len(label_names(phantom)))[0].hd95_mm
    assert scale[1] > 0
    assert scale[3] == pytest.approx(3 * scale[1], rel=1e-5)


def test_rows_that_are_there_are_skipped(run_shift: Any) -> None:
    run_shift(Shift())
    again = Shift()
    failed, store = run_shift(again)
    assert (failed, again.calls, len(store.rows())) == (0, [], 2)


def test_a_pair_that_fails_is_reported_and_repeated(
    run_shift: Any, phantom: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = validation_pairs(phantom)
    failed, store = run_shift(Shift(fails_on=pairs[0]["fixed"]["image"]))
    assert (failed, [row.pair for row in store.rows()]) == (1, [(pairs[1]["fixed"]["id"], pairs[1]["moving"]["id"])])
    assert capsys.readouterr().err.splitlines() == [
        f"FAILED shift {pairs[0]['fixed']['id']} <- {pairs[0]['moving']['id']}: RuntimeError: did not converge"
    ]
    repaired = Shift()
    failed, store = run_shift(repaired)
    assert (failed, repaired.calls, len(store.rows())) == (0, [pairs[0]["fixed"]["image"]], 2)


@pytest.mark.parametrize(
    ("ddf", "reason"), [(torch.zeros(1, 3, 8, 8, 8), "has shape"), (torch.full((1, 3, 32, 32, 32), math.nan), "finite")]
)
def test_unusable_fields_are_refused(ddf: torch.Tensor, reason: str, phantom: Path) -> None:
    with pytest.raises(ValueError, match=reason):
        measure.judge(tool.Registration(ddf), validation_pairs(phantom)[0], len(label_names(phantom)))


def test_other_settings_under_one_name_are_refused(run_shift: Any) -> None:
    run_shift(Shift())
    other = Shift()
    other.settings = "two voxels"
    with pytest.raises(ValueError, match=r"rows of shift with shift 1.0, one voxel, 1 thread.*two voxels.*remove them"):
        run_shift(other)
    assert run_shift(other, name="shift2")[0] == 0


def test_the_first_pair_of_a_network_is_registered_twice(run_shift: Any) -> None:
    warm = Shift()
    warm.warm_up = True
    run_shift(warm)
    assert len(warm.calls) == 3


def test_a_tool_that_fails_does_not_stop_the_others(
    phantom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    started = []

    def start(name: str, args: Any) -> int:
        started.append(name)
        return int(name == "greedy") or -11 * (name == "elastix")  # an exception; a crash of the process

    line = ["run", "--dataset_dir", str(phantom), "--out", str(tmp_path / "t.csv"), "--weights", "mine=model.pt"]
    assert tools.run_all(tools.parse([*line, "--tools", "greedy,elastix,identity"]), start) == 1
    assert started == ["greedy", "elastix", "identity", "mine"]
    assert "FAILED: greedy (exit code 1), elastix (exit code -11);" in capsys.readouterr().err


def test_command_line(phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each tool in a process of its own."""
    out, told = tmp_path / "t.csv", []

    def start(command: list[str], env: dict[str, str]) -> programs.Done:
        assert command[0] == sys.executable and env["OMP_NUM_THREADS"] == "1"
        done = programs.run(command[1:], env=env)
        told.append((done.returncode, done.stderr))
        return done

    monkeypatch.setattr(tools, "subprocess", SimpleNamespace(run=start))
    line = ["run", "--dataset_dir", str(phantom), "--out", str(out), "--threads", "1"]
    assert tools.main([*line, "--tools", "broken,identity", "--weights", "broken=nothing.pt"]) == 1
    (broken, error), (healthy, _) = told
    assert broken == 1 and "FAILED broken: FileNotFoundError" in error and healthy == 0
    assert [row.tool for row in results.Results(out).rows()] == ["identity", "identity"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tools", "greedy,gredy"], "--tools must be of .* got gredy"),
        (["--weights", "greedy=model.pt"], "networks must not be called like tools"),
        (["--weights", "model.pt"], "--weights must be NAME=FILE, got model.pt"),
    ],
)
def test_mistakes_on_the_command_line(
    options: list[str], message: str, phantom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tools.main(["run", "--dataset_dir", str(phantom), "--out", str(tmp_path / "t.csv"), *options]) == 1
    assert re.search(message, capsys.readouterr().err)


def test_pairs_of_slow_tools(phantom: Path) -> None:
    line = ["run", "--dataset_dir", str(phantom), "--out", "t.csv", "--slow_pairs", "1"]
    assert [len(tools.pairs_for(name, tools.parse(line))) for name in ("ants-cc", "greedy")] == [1, 2]
    assert len(tools.pairs_for("greedy", tools.parse([*line, "--pairs", "1"]))) == 1


def test_networks_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "networks.json"
    file.write_text(json.dumps({"a": {"weights": "a.pt", "overrides": {"steps": 1}}, "b": {"weights": "/b.pt"}}))
    line = ["run", "--dataset_dir", "d", "--out", "o", "--networks", str(file), "--weights", "c=c.pt"]
    listed = network.listed_networks(tools.parse([*line, "--network_overrides", '{"steps": 2, "policy": "none"}']))
    assert {name: entry["weights"] for name, entry in listed.items()} == {
        "a": tmp_path / "a.pt",
        "b": Path("/b.pt"),
        "c": Path("c.pt"),
    }
    assert [entry["overrides"]["steps"] for entry in listed.values()] == [1, 2, 2]
    file.write_text('{"a": {"weight": "a.pt"}}')
    with pytest.raises(ValueError, match="'a' must have 'weights'"):
        network.listed_networks(tools.parse(line))


def test_network_of_a_bundle(phantom: Path, tmp_path: Path, make_net: Any) -> None:
    torch.save(make_net(steps=2).state_dict(), tmp_path / "model.pt")
    backbone = {"_target_": "morphseek_monai.networks.VoxelMorph", "encoder": [4, 8], "decoder": [8, 8], "extras": [4]}
    overrides = {
        "backbone": {**backbone, "integration_steps": 2},
        "steps": 2,
        "spatial_size": [16, 16, 16],
        "amp": False,
    }
    net = network.Network(tools.BUNDLE, tmp_path / "model.pt", overrides=overrides)
    seen = {}

    def infer(image: torch.Tensor, module: torch.nn.Module) -> torch.Tensor:
        seen["image"], seen["ddf"] = image, module(image)
        return seen["ddf"]

    net.inferer = infer
    pair = validation_pairs(phantom)[0]
    fixed, moving = (pair[end]["image"] for end in ("fixed", "moving"))
    ddf = net.register(fixed, moving).ddf
    assert seen["image"].shape == (1, 2, 16, 16, 16)
    for channel, path in enumerate((moving, fixed)):
        half = nib.load(path).get_fdata()[::2, ::2, ::2]
        assert np.corrcoef(half.ravel(), seen["image"][0, channel].numpy().ravel())[0, 1] > 0.9
    assert seen["ddf"].abs().max() > 0.1
    torch.testing.assert_close(ddf, resize_ddf(seen["ddf"], [32, 32, 32]), atol=1e-3, rtol=0)
    assert "float32" in net.settings and '"spatial_size": [16, 16, 16]' in net.settings


def row(name: str, moving: str, dice: float, own: float = math.nan) -> Any:
    return results.Row(name, "v", "s", "f", moving, dice, own, 0.5, 0.1, 0.2, 3.0, dice / 10, 2)


@pytest.fixture
def rows() -> list[Any]:
    return [row("fast", "a", 60.0), row("fast", "b", 70.0, 70.25), row("slow", "a", 65.0, 65.0)]


def test_table_is_mean_and_spread(rows: list[Any]) -> None:
    lines = report.results_table(rows).splitlines()
    assert lines[2].startswith("| fast | 2 | 65.0 ± 7.1 | 0.500 ± 0.000 |")
    assert lines[2].endswith("| 6.50 ± 0.71 |")
    assert lines[3].startswith("| slow | 1 | 65.0 |")


def test_tools_of_fewer_pairs_are_compared_on_common_ones(rows: list[Any]) -> None:
    text = report.report(rows)
    common = text.split("The 1 pair(s) that every tool has (f <- a):")[1]
    assert "| fast | 1 | 60.0 |" in common and "| slow | 1 | 65.0 |" in common
    assert "that every tool has" not in report.report(rows[:2])


def test_settings_tell_how_far_the_own_resampler_is_off(rows: list[Any]) -> None:
    lines = report.settings_table(rows[1:] + [row("net", "a", 1)]).splitlines()
    assert [line.split(" | ")[-1] for line in lines[2:]] == ["0.250 |", "0.000 |", "- |"]


def test_rows_survive_the_file(rows: list[Any], tmp_path: Path) -> None:
    store = results.Results(tmp_path / "new" / "tools.csv")
    for each in rows:
        store.append(each, {1: 12.3456}, {1: "Left-Thalamus, with a comma"})
    assert repr(store.rows()) == repr(rows)  # NaN is not equal to itself
    assert store.structures()["fast", "f", "a", "Left-Thalamus, with a comma"] == 12.346
    assert store.structures_path.name == "tools_structures.csv"


def test_left_and_right_are_pooled() -> None:
    dices = {("t", "f", "m", name): i for i, name in enumerate(["Left-Thalamus", "Brain-Stem", "Right-Thalamus"])}
    assert report.pool_sides({**dices, ("u", "f", "m", "Left-Thalamus"): 9}, "t") == {
        "Thalamus": [0, 2],
        "Brain-Stem": [1],
    }


def test_table_and_plots_from_a_file(rows: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = results.Results(tmp_path / "tools.csv")
    for each in [row("identity", "a", 50), *rows]:
        store.append(each, {1: each.dice_percent}, {1: "Left-Thalamus"})
    assert tools.main(["table", str(store.path), "--tools", "slow,identity"]) == 0
    assert [line.split(" | ")[0] for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][1:3] == [
        "| slow",
        "| identity",
    ]
    pictures = [tmp_path / "pareto.png", tmp_path / "structures.png"]
    line = ["plot", str(store.path), "--pareto", str(pictures[0]), "--structures", str(pictures[1])]
    assert tools.main(line) == 0
    assert all(picture.stat().st_size > 5000 for picture in pictures)
    assert tools.main(["table", str(store.path), "--tools", "absent"]) == 1
    assert "has no rows of absent" in capsys.readouterr().err


def commands() -> list[str]:
    lines = re.findall(r"^(?:\w+=\S+ )*python docs/benchmarks/tools\.py (.*)$", PAGE.replace("\\\n", " "), re.M)
    return sorted(set(lines))


@pytest.mark.parametrize("command", commands())
def test_commands_of_the_page_parse(command: str) -> None:
    assert tools.parse(shlex.split(command, comments=True)).command in ("run", "table", "plot")


def test_page_describes_every_tool_and_column() -> None:
    assert [name for name in tools.TOOLS if f"| {name} |" not in PAGE] == []
    assert [name for name in report.COLUMNS if f"| {name} |" not in PAGE] == []


def test_page_describes_the_networks_file(tmp_path: Path) -> None:
    (block,) = re.findall(r"^```json\n(.*?)^```$", PAGE, re.M | re.S)
    (tmp_path / "networks.json").write_text(block)
    line = ["run", "--dataset_dir", "d", "--out", "o", "--networks", str(tmp_path / "networks.json")]
    for entry in network.listed_networks(tools.parse(line)).values():
        assert all((tools.BUNDLE / overlay).is_file() for overlay in entry["overlays"])
