"""The command: options, exit codes, and real processes that share pairs, are killed, and go on."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from morphseek_monai.apps.main import main
from morphseek_monai.registration.batch.run import Share
from morphseek_monai.registration.batch.table import PairRow

from .. import programs

OUTCOMES = ("succeeded", "doubtful", "failed", "error", "not done")
PAIRS = ((1, 2), (3, 4), (2, 1), (4, 3))
COUNT = "morphseek_monai.registration.batch.summary.count_outcomes"
QUICK = ("--bundle", "morphseek_phantom", "--affine=off", "--report=False")


class Ran:
    """What the pretended batch was asked for."""

    rows: Sequence[PairRow] = ()
    share: Share | None = None
    overwrite = False


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ran:
    """A table of one pair at ``tmp_path``, and a batch that only notes what it should do."""
    ran = Ran()

    def run_batch(rows: Sequence[PairRow], folder: Path, share: Share, overwrite: bool) -> None:
        ran.rows, ran.share, ran.overwrite = rows, share, overwrite

    monkeypatch.setattr("morphseek_monai.registration.batch.run.run_batch", run_batch)
    monkeypatch.setattr(COUNT, lambda rows, folder: dict(zip(OUTCOMES, (1, 0, 0, 0, 0))))
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "pairs.csv").write_text("fixed,moving\nf.nii,m.nii\n")
    monkeypatch.chdir(tmp_path)
    return ran


def code_of(*arguments: str) -> int:
    try:
        main(["batch", "pairs.csv", "--out", "out", *arguments])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_takes_the_options_of_register(ran: Ran, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("--max-memory", "3G", "--refine=4", "--steps=auto", "--seed", "5", "--overwrite") == 0
    options = ran.rows[0].options
    assert (options.max_memory, options.refine, options.steps, options.seed) == ("3G", 4, "auto", 5)
    assert ran.overwrite and ran.share == Share(0, 1, 0, 1)
    assert capsys.readouterr().out == f"1 pair: 1 succeeded; see {Path('out/summary.csv').absolute()}\n"


@pytest.mark.parametrize(
    ("counts", "code", "text"),
    [
        ((3, 0, 0, 0, 0), 0, "3 pairs: 3 succeeded;"),
        ((3, 1, 0, 0, 0), 3, "4 pairs: 3 succeeded, 1 doubtful;"),
        ((3, 1, 2, 0, 0), 1, "6 pairs: 3 succeeded, 1 doubtful, 2 failed;"),
        ((3, 0, 0, 1, 0), 1, "4 pairs: 3 succeeded, 1 error;"),
        ((3, 0, 0, 0, 1), 1, "4 pairs: 3 succeeded, 1 not done;"),
    ],
)
def test_exit_codes(
    ran: Ran, counts: Any, code: int, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(COUNT, lambda rows, folder: dict(zip(OUTCOMES, counts)))
    assert code_of() == code
    assert capsys.readouterr().out.startswith(text)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert code_of() == 0  # torchrun would end the other processes


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--sede=3"], "batch: sede is no option of morphseek register; known: bundle"),
        (["--samples=many"], "batch: samples must be a whole number, got 'many'"),
        (["--jobs=0"], "batch: --jobs must be a whole number of at least 1, got 0"),
        (["--out"], "batch: --out needs a value, got none; write --out VALUE, or leave it out"),
        (["--out="], "batch: --out must be a folder, got ''; name one"),
        (["--jobs=all"], "batch: --jobs must be a whole number of at least 1, got 'all'"),
    ],
)
def test_wrong_options_are_one_line_and_code_2(
    ran: Ran, arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(*arguments) == 2
    assert capsys.readouterr().err.startswith(f"morphseek: {reason}")
    assert not ran.rows


def test_wrong_table_is_one_line_and_code_2(ran: Ran, capsys: pytest.CaptureFixture[str]) -> None:
    Path("pairs.csv").write_text("fixed,moving,colour\nf,m,red\n")
    assert code_of() == 2
    told = f"morphseek: {Path('pairs.csv').absolute()} has unknown columns colour; known are name, fixed"
    assert capsys.readouterr().err.startswith(told)


def test_share_comes_from_the_launcher(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")
    assert code_of() == 0
    assert ran.share == Share(5, 8, 1, 4)


@pytest.mark.parametrize(("rank", "world"), [("2", "2"), ("-1", "2"), ("one", "2"), ("0", "0")])
def test_a_share_that_cannot_be(
    ran: Ran, rank: str, world: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", world)
    assert code_of() == 2
    assert "RANK must be a number below WORLD_SIZE" in capsys.readouterr().err


# from here on real registrations of phantoms, in processes of their own


@pytest.fixture(scope="module")
def table(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pairs ``p0`` to ``p3`` with labels."""
    path = tmp_path_factory.mktemp("table") / "pairs.csv"
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["name", "fixed", "moving", "fixed_label", "moving_label"])
        for number, pair in enumerate(PAIRS):
            files = [f"{kind}Tr/PhantomBrain_000{n}_0000.nii.gz" for kind in ("images", "labels") for n in pair]
            writer.writerow([f"p{number}", *(phantom / file for file in files)])
    return path


@pytest.fixture(scope="module")
def uninterrupted(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of one process without any trouble."""
    out = tmp_path_factory.mktemp("batch") / "out"
    done = run(command(table, out))
    assert done.returncode in (0, 3), done.stderr
    return out


def command(table: Path, out: Path, *options: str) -> list[str]:
    return ["-m", "morphseek_monai", "batch", str(table), f"--out={out}", *QUICK, *options]


def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return programs.run(arguments, env=environment(), timeout=900)


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"}


def lines_of(out: Path) -> list[dict[str, str]]:
    """The summary without times."""
    with open(out / "summary.csv", newline="", encoding="utf-8") as stream:
        return [{name: text for name, text in line.items() if name != "seconds"} for line in csv.DictReader(stream)]


def assert_equal_results(out: Path, expected: Path) -> None:
    assert lines_of(out) == lines_of(expected)
    for number in range(len(PAIRS)):
        for file in ("warped", "jacobian"):
            images: list[Any] = [nib.load(root / f"p{number}/{file}.nii.gz") for root in (out, expected)]
            np.testing.assert_array_equal(*(image.get_fdata() for image in images))


@pytest.mark.slow
def test_registers_and_measures_dice(uninterrupted: Path) -> None:
    lines = lines_of(uninterrupted)
    assert [line["name"] for line in lines] == ["p0", "p1", "p2", "p3"]
    for line in lines:
        assert line["verdict"] in ("succeeded", "doubtful")
        assert float(line["similarity_after"]) > float(line["similarity_before"])
        assert float(line["dice_after"]) > float(line["dice_before"]) > 0.2
    assert not list(uninterrupted.glob("*/report.html"))


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_as_if_nothing_had_happened(
    table: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = programs.Program(command(table, out), env=environment())
    try:
        while not (out / "p1/pair.json").exists():
            assert process.running(), "the batch ended before it could be killed"
            time.sleep(0.02)
    finally:
        process.kill()
    first = (out / "p0/warped.nii.gz").stat().st_mtime_ns
    assert not (out / "p3/result.json").exists()
    done = run(command(table, out))
    assert "2 of 4 pairs are done already" in done.stderr, done.stderr
    assert (out / "p0/warped.nii.gz").stat().st_mtime_ns == first
    assert_equal_results(out, uninterrupted)


@pytest.mark.slow
def test_torchrun_shares_the_pairs(table: Path, uninterrupted: Path, tmp_path: Path) -> None:
    # a broken pair in the middle: were its process to fail, torchrun would end the other one
    text = table.read_text(encoding="utf-8").splitlines()
    broken = tmp_path / "pairs.csv"
    broken.write_text("\n".join([*text[:2], f"bad,{tmp_path / 'none.nii'},{tmp_path / 'none.nii'},,", *text[2:]]))
    ranks = programs.run_ranks(command(broken, tmp_path / "out"), 2, env=environment())
    assert [done.returncode for done in ranks] == [0, 0], ranks
    # rank 0 does lines 1, 3 and 5, rank 1 lines 2 (the broken one) and 4
    told = sorted(re.findall(r"^(\[\d\] \d of \d, \w+):", "".join(done.stderr for done in ranks), re.M))
    assert told == ["[0] 1 of 3, p0", "[0] 2 of 3, p1", "[0] 3 of 3, p3", "[1] 1 of 2, bad", "[1] 2 of 2, p2"]
    lines = lines_of(tmp_path / "out")
    assert [line["name"] for line in lines] == ["p0", "bad", "p1", "p2", "p3"]
    assert "none.nii does not exist" in lines[1]["error"]
    assert [line for line in lines if line["name"] != "bad"] == lines_of(uninterrupted)

    again = run(command(broken, tmp_path / "out"))  # alone: all but the broken one are done, and the code tells of it
    assert again.returncode == 1 and "4 of 5 pairs are done already" in again.stderr
    assert again.stdout.startswith("5 pairs: ") and "1 error; see" in again.stdout


@pytest.mark.slow
def test_jobs_share_the_pairs_too(table: Path, uninterrupted: Path, tmp_path: Path) -> None:
    done = run(command(table, tmp_path / "out", "--jobs=2"))
    assert done.returncode in (0, 3), done.stderr
    assert {line[:3] for line in done.stderr.splitlines() if " of " in line} == {"[0]", "[1]"}
    assert_equal_results(tmp_path / "out", uninterrupted)
