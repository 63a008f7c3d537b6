"""Tables of pairs: paths, names, options of single lines, and what is wrong with a table."""

from __future__ import annotations

from pathlib import Path

import pytest

from morphseek_monai.base.errors import DataError
from morphseek_monai.registration.batch.table import read_pairs
from morphseek_monai.registration.options import RegisterOptions


def write(folder: Path, *lines: str, encoding: str = "utf-8") -> Path:
    path = folder / "pairs.csv"
    path.write_bytes("\r\n".join(lines).encode(encoding))
    return path


def test_paths_start_at_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "list").mkdir()
    write(tmp_path / "list", "fixed,moving", "a/f.nii.gz,../m.nii.gz", "/else/f2.nrrd,~/m.mha")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home-of-user")
    first, second = read_pairs("list/pairs.csv")
    assert (first.fixed, first.moving) == (str(tmp_path / "list/a/f.nii.gz"), str(tmp_path / "m.nii.gz"))
    assert (second.fixed, second.moving) == ("/else/f2.nrrd", "/home-of-user/m.mha")
    assert first.fixed_label is first.moving_label is None and first.options == RegisterOptions()


@pytest.mark.parametrize(
    ("fixed", "moving", "name"),
    [
        ("a/fixed.nii.gz", "b/moving.nii", "moving_to_fixed"),
        ("sub-01_T1w.nrrd", "sub.02.mha", "sub.02_to_sub-01_T1w"),
        ("my scan.NII.GZ", "../series/", "series_to_my_scan"),
        (".hidden.nii", "é+1.nii.gz", "é+1_to_hidden"),
    ],
)
def test_names_come_from_the_files_moving_first(fixed: str, moving: str, name: str, tmp_path: Path) -> None:
    (row,) = read_pairs(write(tmp_path, "fixed,moving", f"{fixed},{moving}"))
    assert row.name == name


def test_options_of_lines_come_before_those_of_the_command(tmp_path: Path) -> None:
    table = write(
        tmp_path, "moving,name,seed,fixed, steps ,report,modality", "m,a,5,f,auto,False,", "m,b,,f,2,,ct", "m,c,,f,,,"
    )
    rows = read_pairs(table, {"seed": 7, "modality": "mr"})
    assert [row.options for row in rows] == [
        RegisterOptions(seed=5, steps="auto", report=False, modality="mr"),
        RegisterOptions(seed=7, steps=2, modality="ct"),
        RegisterOptions(seed=7, modality="mr"),
    ]


def test_labels_affine_and_bundle_lie_beside_the_table_too(tmp_path: Path) -> None:
    (tmp_path / "start.txt").write_text("1 0 0 0")
    (tmp_path / "own_bundle").mkdir()
    table = write(
        tmp_path,
        "name,fixed,moving,fixed_label,moving_label,affine,bundle",
        "a,f,m,f_seg.nii,m_seg.nii,start.txt,own_bundle",
        "b,f,m,,,off,morphseek_phantom",
    )
    first, second = read_pairs(table)
    assert (first.fixed_label, first.moving_label) == (str(tmp_path / "f_seg.nii"), str(tmp_path / "m_seg.nii"))
    assert (first.options.affine, first.options.bundle) == (str(tmp_path / "start.txt"), str(tmp_path / "own_bundle"))
    assert (second.options.affine, second.options.bundle) == ("off", "morphseek_phantom")


def test_contrasts_masks_transforms_and_landmarks_lie_beside_the_table(tmp_path: Path) -> None:
    for name in ("t1.nii", "m1.nii", "warp.nii"):
        (tmp_path / name).touch()
    table = write(
        tmp_path,
        "fixed,moving,fixed_mask,initial_transform,fixed_points,moving_points,space",
        '"t1.nii, t2.nii","m1.nii,m2.nii",mask.nii,mrtrix:warp.nii,f.csv,m.csv,RAS',
    )
    (row,) = read_pairs(table)
    assert row.fixed == (str(tmp_path / "t1.nii"), str(tmp_path / "t2.nii")) and row.name == "m1_to_t1"
    options = row.options
    assert (options.fixed_mask, options.moving_mask) == (str(tmp_path / "mask.nii"), None)
    assert options.initial_transform == f"mrtrix:{tmp_path / 'warp.nii'}"
    assert (options.fixed_points, options.space) == (str(tmp_path / "f.csv"), "RAS")


def test_tables_of_spreadsheet_programs(tmp_path: Path) -> None:
    table = write(tmp_path, "fixed,moving,name", '"a, b.nii","m.nii",x', "", ",,", encoding="utf-8-sig")
    (row,) = read_pairs(table)
    assert (Path(row.fixed).name, row.name) == ("a, b.nii", "x")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "must have a header with the columns fixed and moving, got none"),
        (["fixed,other", "f,o"], "must have a header with the columns fixed and moving, got fixed, other"),
        (["fixed;moving", "f;m"], "must have a header with the columns fixed and moving, got fixed;moving"),
        (["fixed,moving,Seed", "f,m,1"], "has unknown columns Seed; known are name, fixed, moving, fixed_label, mov"),
        (["fixed,moving,out", "f,m,1"], "has unknown columns out"),
        (["fixed,moving,", "f,m,"], r"has unknown columns \(no name\)"),
        (["fixed,moving,seed,seed", "f,m,1,2"], "has a column twice"),
        (["fixed,moving"], "lists no pair; add lines below the header fixed,moving"),
        (["fixed,moving", "f,m", "f,"], "line 3 names no moving image; fill the cell"),
        (["fixed,moving,seed", ",m,3"], "line 2 names no fixed image; fill the cell"),
        (["fixed,moving", "f,m,x"], "line 2 has more cells than the header; quote cells that hold commas"),
        (["fixed,moving", '"f,m'], "is no CSV table in UTF-8"),
        (["fixed,moving,fixed_label", "f,m,l"], "line 2 names one of fixed_label and moving_label; give both or none"),
        (["fixed,moving,samples", "f,m,few"], "line 2: samples must be a whole number, got 'few'; correct it"),
    ],
)
def test_faults_of_a_table(lines: list[str], words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"pairs.csv {words}"):
        read_pairs(write(tmp_path, *lines))


@pytest.mark.parametrize("name", ["../up", "a/b", "..", ".", ".hidden", "/root", "a\\b", "a b", "n" * 129, "-o"])
def test_names_stay_within_the_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 2: name must be a folder name of letters, digits and _\.\+=@-, got"):
        read_pairs(write(tmp_path, "fixed,moving,name", f"f,m,{name}"))


@pytest.mark.parametrize(
    "lines",
    [
        ["fixed,moving,name", "f,m,x", "g,m,y", "g,n,x"],
        ["fixed,moving,name", "f,m,x", "g,n,X"],  # one folder on macOS and Windows
        ["fixed,moving", "s1/t1.nii,s2/t1.nii", "s3/t1.nii,s4/t1.nii"],
        ["fixed,moving,name", "b.nii,a.nii,", "f,m,a_to_b"],
    ],
)
def test_two_pairs_of_one_name(lines: list[str], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has several pairs named .*; add a column name with a different one for each"):
        read_pairs(write(tmp_path, *lines))


def test_no_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="table of pairs .*none.csv does not exist"):
        read_pairs(tmp_path / "none.csv")
    (tmp_path / "scan.csv").write_bytes(b"\x1f\x8b\x00\xff")
    with pytest.raises(DataError, match="scan.csv is no CSV table in UTF-8"):
        read_pairs(tmp_path / "scan.csv")
