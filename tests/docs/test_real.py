"""docs/benchmarks/real.py: its figures, measurements, resuming, errors and tables; no program is needed."""

from __future__ import annotations

import importlib
import json
import math
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from morphseek_monai import __version__

BENCHMARKS = Path(__file__).resolve().parents[2] / "docs" / "benchmarks"
PAGE = (BENCHMARKS / "real.md").read_text(encoding="utf-8")
sys.path.insert(0, str(BENCHMARKS))  # where Python puts it when the script is run
real = importlib.import_module("real")
pairs, tools, measure, rows, report = (
    importlib.import_module(f"scans.{name}") for name in ("pairs", "tools", "measure", "rows", "report")
)
itk_program = importlib.import_module("scans.programs.sitk")
LISTING = json.loads(pairs.LISTING.read_text(encoding="utf-8"))


def save(path: Path, array: Any, affine: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)


def turned(angle: float, spacing: tuple[float, float, float], origin: tuple[float, float, float]) -> Any:
    """Affine of a grid that is turned about its first axis."""
    affine = np.eye(4)
    a, b = math.cos(angle), math.sin(angle)
    affine[:3, :3] = np.array([[-1, 0, 0], [0, a, -b], [0, b, a]]) @ np.diag(spacing)
    affine[:3, 3] = origin
    return affine


def blocks(size: tuple[int, int, int], affine: Any) -> Any:
    """Two boxes that lie at the same place in space whatever the grid."""
    points = nib.affines.apply_affine(affine, np.moveaxis(np.indices(size), 0, -1))
    label = np.zeros(size, dtype=np.uint8)
    for value, (low, high) in enumerate([((-16, -14, -12), (2, 6, 7)), ((4, -8, -6), (15, 13, 12))], start=1):
        label[((points >= low) & (points <= high)).all(axis=-1)] = value
    return label


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two sets of one pair; the grids differ, the boxes are at the same place."""
    grids = {
        "A_0000": ((30, 34, 28), turned(0.2, (1.5, 1.25, 1.5), (20, -20, -20))),
        "B_0000": ((44, 36, 24), turned(-0.3, (1.0, 1.5, 2.0), (22, -30, -18))),
    }
    for folder in ("first", "second"):
        for name, (size, affine) in grids.items():
            for kind in ("images", "labels"):
                save(tmp_path / folder / kind / f"{name}.nii.gz", blocks(size, affine), affine)
    report_pair = {"tune": [], "report": [["A_0000", "B_0000"]]}
    listing = {
        "boxes": {"folder": "first", **report_pair, "inner": [2]},
        "lost": {"folder": "second", **report_pair, "unit": "voxels"},
    }
    file = tmp_path / "listing.json"
    file.write_text(json.dumps(listing))
    monkeypatch.setattr(pairs, "LISTING", file)
    return tmp_path


def test_pairs_name_their_files_and_units(data: Path) -> None:
    (pair,) = pairs.load_pairs(data, "report", "boxes")
    assert pair.ids == ("A_0000", "B_0000")
    assert Path(pair.moving_label) == data / "first" / "labels" / "B_0000.nii.gz"
    assert pair.spacing == pytest.approx((1.5, 1.25, 1.5)) and pair.inner == (2,)
    (lost,) = pairs.load_pairs(data, "report", "lost")
    assert lost.spacing == (1, 1, 1) and lost.inner is None
    assert pairs.load_pairs(data, "tune", "boxes") == []


def test_what_is_not_there_is_told(data: Path) -> None:
    with pytest.raises(ValueError, match="a set of boxes, lost and a split of tune, report, got 'box'"):
        pairs.load_pairs(data, "report", "box")
    (data / "first" / "labels" / "B_0000.nii.gz").unlink()
    with pytest.raises(FileNotFoundError, match="report pair A_0000 <- B_0000 of boxes wants .*labels.B_0000"):
        pairs.load_pairs(data, "report", "boxes")


MOVE = np.array([[1, -0.1, 0, 6], [0.1, 1, 0, -4], [0, 0, 1.005, 2], [0, 0, 0, 1]])  # RAS mm, orthogonal


@pytest.fixture
def moved(data: Path) -> tuple[Any, Any]:
    """A pair whose moving scan lies elsewhere, and the result of the transform that says where."""
    (pair,) = pairs.load_pairs(data, "report", "boxes")
    label: Any = nib.load(pair.moving_label)
    pair = pair._replace(moving_label=str(data / "moved.nii.gz"))
    save(Path(pair.moving_label), np.asarray(label.dataobj), MOVE @ label.affine)
    lps = np.diag([-1, -1, 1, 1]) @ MOVE @ np.diag([-1, -1, 1, 1])
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(lps[:3, :3].ravel().tolist())
    transform.SetTranslation(lps[:3, 3].tolist())
    return pair, itk_program.apply_transform(pair.fixed_image, pair.moving_label, transform)


def test_the_field_warps_as_the_program_does(moved: tuple[Any, Any]) -> None:
    found = measure.judge(*moved)
    assert 90 < found["dice"] < 99 and found["njd"] == 0
    assert found["field_dice"] == pytest.approx(found["dice"], abs=0.05)
    assert found["inner_dice"] != found["dice"]


def test_a_wrong_field_shows(moved: tuple[Any, Any]) -> None:
    pair, right = moved
    for field in (-right.field, right.field * [-1, 1, 1], right.field * [1, -1, 1], right.field[..., ::-1]):
        wrong = measure.judge(pair, right._replace(field=field))
        assert wrong["field_dice"] < wrong["dice"] - 5
    left = 1.5 * np.indices(right.label.shape)[0]  # mm along the first axis, which points to the left, as LPS does
    for factor, njd in ((-2, 100), (2, 0)):  # mirrored: every voxel folds; stretched: none
        field = np.stack([factor * left, 0 * left, 0 * left], axis=-1)
        assert measure.judge(pair, right._replace(field=field))["njd"] == njd
    for field in (right.field[1:], np.full_like(right.field, np.nan)):
        with pytest.raises(ValueError, match="finite and"):
            measure.judge(pair, right._replace(field=field))


def test_what_a_process_took(tmp_path: Path) -> None:
    ballast = np.ones(2**25)  # 256 MiB here must not count there
    code = "import time; x = b'x' * (50 * 2**20); t = time.process_time()\nwhile time.process_time() < t + 0.3: pass\n"
    out = tmp_path / "cost.json"
    python = [sys.executable, "-S"]
    line = [*python, str(measure.MEASURED), str(out), *python, "-c", code + "raise SystemExit(3)"]
    subprocess.run(line, check=True)
    cost = json.loads(out.read_text())
    assert cost["code"] == 3 and ballast.nbytes == 2**28
    assert 0.3 <= cost["cpu_s"] < 3 and cost["wall_s"] > 0.29
    assert 50 < cost["memory_mib"] < 120


@pytest.fixture
def run(data: Path) -> Any:
    """``run(*options)`` -> exit code of ``real.py run`` on the synthetic pairs into one file."""

    def start(*options: str) -> int:
        line = ["run", "--data", str(data), "--out", str(data / "real.csv"), *options]
        return int(real.main(line))

    return start


def test_a_run_is_measured_once(run: Any, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--tools", "headers") == 0
    file = data / "real.csv"
    before = file.read_text()
    assert run("--tools", "headers") == 0
    assert file.read_text() == before
    first, second = rows.Rows(file).read()
    assert [first.set, second.set, first.unit, second.unit] == ["boxes", "lost", "mm", "voxels"]
    assert first.dice > 90 and first.field_dice == pytest.approx(first.dice, abs=0.1)
    assert first.njd == 0 and first.cpu_s > 0 and first.wall_s > 0 and first.memory_mib > 5
    assert (first.split, first.threads, first.error) == ("report", 1, "")
    assert run("--tools", "headers", "--threads", "2") == 1
    assert "has rows of headers with" in capsys.readouterr().err


def checkout(folder: Path, script: str) -> Path:
    """A folder that looks like a checkout, whose ``morphseek register`` is a script."""
    package = folder / "morphseek_monai"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "version.py").write_text('"""Version."""\n\n__version__ = "7.8.9"\n')
    (package / "__main__.py").write_text(script)
    return folder


OURS = """
import json, os, shutil, sys
import SimpleITK as sitk
options = dict(zip(sys.argv[2::2], sys.argv[3::2]))
if sys.argv[1] == "warp-image":
    image = sitk.ReadImage(options["--image"])
    transform = sitk.ReadTransform(options["--registration"] + "/transform.h5")
    fixed = sitk.ReadImage(options["--image"].replace("B_0000", "A_0000"))
    sitk.WriteImage(sitk.Resample(image, fixed, transform, sitk.sitkNearestNeighbor), options["--out"])
else:
    assert os.environ["OMP_NUM_THREADS"] == "1" and options["--affine"] == "auto"
    os.makedirs(options["--out"])
    transform = sitk.TranslationTransform(3, [2.0, 1.0, 0.0])
    sitk.WriteTransform(transform, options["--out"] + "/transform.h5")
    with open(options["--out"] + "/result.json", "w") as file:
        json.dump({"verdict": "doubtful"}, file)
    raise SystemExit(3)
"""


def test_ours_is_run_by_its_command_line(run: Any, data: Path) -> None:
    folder = checkout(data / "checkout", OURS)
    assert run("--tools", "", "--ours", f"mine={folder} --affine auto", "--sets", "boxes") == 0
    (row,) = rows.Rows(data / "real.csv").read()
    assert (row.tool, row.settings, row.note) == ("mine", "morphseek register --affine auto", "doubtful")
    assert row.version.startswith("morphseek_monai 7.8.9") and str(data) not in row.version
    assert 40 < row.dice < 95 and row.field_dice == pytest.approx(row.dice, abs=0.1)


def test_errors_are_rows_and_are_repeated_when_asked(run: Any, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = checkout(data / "checkout", "raise SystemExit('no idea\\nwhat to do')")
    options = ["--tools", "", "--ours", f"mine={folder} --affine auto", "--sets", "boxes"]
    assert run(*options) == 1
    assert "mine, boxes, A_0000 <- B_0000: FAILED exit code 1" in capsys.readouterr().out
    (row,) = rows.Rows(data / "real.csv").read()
    assert math.isnan(row.dice) and row.error.startswith("exit code 1: ")
    assert run(*options) == 0  # it is there
    (folder / "morphseek_monai" / "__main__.py").write_text(OURS)
    assert run(*options, "--again") == 0
    (row,) = rows.Rows(data / "real.csv").read()
    assert row.dice > 40 and row.error == ""


def test_a_registration_may_take_so_long(data: Path) -> None:
    (pair,) = pairs.load_pairs(data, "report", "boxes")
    folder = checkout(data / "checkout", "import time; time.sleep(60)")
    row = measure.measure_pair(tools.ours(f"mine={folder}"), pair, threads=1, limit=0.5)
    assert row.error == "stopped after 0.5 s"


def test_this_checkout_can_be_measured() -> None:
    tool = tools.ours(f"register={BENCHMARKS.parents[1]} --steps 0")
    assert tool.version.split()[:2] == ["morphseek_monai", __version__]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tools", "gredy"], "a tool must be one of headers, greedy, .* got 'gredy'"),
        (["--tools", "", "--ours", "greedy=."], "with a name of its own, got 'greedy=.'"),
        (["--tools", "", "--ours", "mine"], "--ours must be 'NAME=CHECKOUT"),
        (["--tools", "", "--ours", "mine=/nowhere"], "wants a folder that holds morphseek_monai, got '/nowhere'"),
        (["--tools", "", "--sets", "box"], "wants a set of boxes, lost"),
    ],
)
def test_mistakes_on_the_command_line(
    options: list[str], message: str, run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*options) == 1
    assert re.search(message, capsys.readouterr().err)


def row(tool: str, name: str, dice: float, error: str = "", **changes: Any) -> Any:
    numbers = [math.nan] * 8 if error else [dice, dice + 1, dice + 0.25, 0.5, 2.0, dice / 10, 9.0, 512.0]
    figures = dict(zip(rows.NUMBERS, numbers)) | changes
    return rows.Row(
        name,
        "report",
        "A",
        f"B{dice}",
        tool,
        unit="mm",
        threads=1,
        version="v",
        settings="s, t",
        error=error,
        **figures,
    )


def test_table_is_the_mean_of_what_did_not_fail() -> None:
    given = [row("fast", "mice", 60.0), row("fast", "mice", 70.0), row("slow", "mice", 65.0, "too, small")]
    given += [row("slow", "mice", 66.0), row("slow", "lungs", 80.0)]
    text = report.report(given)
    mice, lungs = text.split("**lungs**")
    assert "| fast | 2 | 65.0 | 66.0 | 0.500 | 2.00 | 6.5 | 9.0 | 512 |" in mice
    assert "| slow | 1 of 2 | 66.0 |" in mice and "| slow | 1 | 80.0 |" in lungs
    assert "- slow, mice, A <- B65.0: too, small" in text
    assert "| fast | v | s, t | 0.250 |" in text
    with pytest.raises(ValueError, match="at least one row"):
        report.report([])


def test_table_and_figure_from_a_file(tmp_path: Path, monkeypatch: Any, capsys: pytest.CaptureFixture[str]) -> None:
    store = rows.Rows(tmp_path / "real.csv")
    for each in [row("slow", "lungs", 70.0), row("headers", "mice", 50.0), row("slow", "mice", 60.0, "no")]:
        store.append(each)
    assert repr(store.read()[1:]) == repr([row("headers", "mice", 50.0), row("slow", "mice", 60.0, "no")])
    assert real.main(["table", str(store.path), str(store.path), "--tools", "headers,slow"]) == 0
    out = capsys.readouterr().out
    assert "| headers | 1 | 50.0 |" in out  # files may share rows
    assert out.index("**mice**") < out.index("**lungs**")  # as in the listing
    picture = tmp_path / "pareto.png"
    assert real.main(["plot", str(store.path), "--out", str(picture)]) == 0
    assert picture.stat().st_size > 5000
    assert real.main(["table", str(store.path), "--tools", "absent"]) == 1
    assert "no rows of absent" in capsys.readouterr().err


def commands() -> list[str]:
    lines = re.findall(r"^python docs/benchmarks/real\.py (.*)$", PAGE.replace("\\\n", " "), re.M)
    return sorted(set(lines))


@pytest.mark.parametrize("command", commands())
def test_commands_of_the_page_parse(command: str) -> None:
    assert real.parse(shlex.split(command, comments=True)).command in ("run", "table", "plot")


def test_page_describes_every_tool_column_and_set() -> None:
    assert commands()
    assert [name for name in tools.PROGRAMS if f"| {name} |" not in PAGE] == []
    assert [name for name in report.COLUMNS if f"| {name} |" not in PAGE] == []
    assert [name for name in LISTING if f"| {name} |" not in PAGE] == []
