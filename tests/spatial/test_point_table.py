"""Files of points: spaces, columns, order, what 3D Slicer writes, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from morphseek_monai.base.errors import DataError
from morphseek_monai.spatial.point_table import read_points, write_points

FCSV = """# Markups fiducial file version = 4.11
# CoordinateSystem = {space}
# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID
1,1.5,-2,30,0,0,0,1,1,1,0,F-1,"left, upper",
2,4,5,6,0,0,0,1,1,1,0,F-2,,
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize(("space", "expected"), [("RAS", [[1, -2, 3]]), ("LPS", [[-1, 2, 3]])])
def test_points_are_ras_inside(tmp_path: Path, space: str, expected: list[list[float]]) -> None:
    table = read_points(write(tmp_path / "p.csv", "x,y,z\n1,-2,3\n"), space)
    assert table.points.tolist() == expected and table.space == space


@pytest.mark.parametrize(("header", "expected"), [("label,r,a,s", [1, 2, 3]), ("label,l,p,s", [-1, -2, 3])])
def test_column_names_of_slicer_tell_the_space(tmp_path: Path, header: str, expected: list[float]) -> None:
    table = read_points(write(tmp_path / "p.csv", f"{header}\nF-1,1,2,3\n"))
    assert table.points.tolist() == [expected]


@pytest.mark.parametrize(("space", "sign"), [("LPS", -1), ("1", -1), ("RAS", 1), ("0", 1)])
def test_fcsv_tells_the_space(tmp_path: Path, space: str, sign: int) -> None:
    path = write(tmp_path / "p.fcsv", FCSV.format(space=space))
    assert read_points(path).points.tolist() == [[sign * 1.5, sign * -2, 30], [sign * 4, sign * 5, 6]]


@pytest.mark.parametrize("space", ["RAS", "LPS"])
def test_everything_else_is_kept(tmp_path: Path, space: str) -> None:
    text = 'name,Z,X,Y,note\nb,3.000000,1.000000,2.000000,"one, two"\na,6.000000,4.000000,5.000000,\n'
    table = read_points(write(tmp_path / "p.csv", text), space)
    write_points(tmp_path / "q.csv", table, table.points)
    assert (tmp_path / "q.csv").read_text() == text
    sign = 1 if space == "RAS" else -1
    write_points(tmp_path / "q.csv", table, table.points + [sign * 0.5, 0, 0])
    assert (tmp_path / "q.csv").read_text().splitlines()[1] == 'b,3.000000,1.500000,2.000000,"one, two"'


def test_fcsv_stays_one(tmp_path: Path) -> None:
    table = read_points(write(tmp_path / "p.fcsv", FCSV.format(space="LPS")))
    write_points(tmp_path / "q.fcsv", table, np.array([[1.0, 2, 3], [4, 5, 6]]))
    lines = (tmp_path / "q.fcsv").read_text().splitlines()
    assert lines[:3] == FCSV.format(space="LPS").splitlines()[:3]
    assert lines[3] == '1,-1.000000,-2.000000,3.000000,0,0,0,1,1,1,0,F-1,"left, upper",'


def test_no_points_are_no_fault(tmp_path: Path) -> None:
    assert read_points(write(tmp_path / "p.csv", "x,y,z\n"), "RAS").points.shape == (0, 3)


@pytest.mark.parametrize(
    ("text", "space", "message"),
    [
        ("x,y,z\n1,2,3\n", None, "does not tell its coordinates' space; write --space RAS"),
        ("x,y,z\n1,2,3\n", "ras", "space must be RAS or LPS, got 'ras'"),
        ("r,a,s\n1,2,3\n", "LPS", "says that it is in RAS, got --space LPS"),
        ("1,2,3\n4,5,6\n", "RAS", "one header line with the columns x,y,z, got '1,2,3'"),
        ("x;y;z\n1;2;3\n", "RAS", "one header line with the columns x,y,z, got 'x;y;z'"),
        ("x,y,z,x\n1,2,3,4\n", "RAS", "one header line with the columns x,y,z"),
        ("", "RAS", "one header line with the columns x,y,z, got ''"),
        ("x,y,z\n1,2,3\n4,five,6\n", "RAS", "point 2 must have three finite numbers, got '4,five,6'"),
        ("x,y,z\n1,2\n", "RAS", "point 1 must have three finite numbers"),
        ("x,y,z\n1,2,nan\n", "RAS", "point 1 must have three finite numbers"),
    ],
)
def test_faults_are_named(tmp_path: Path, text: str, space: str | None, message: str) -> None:
    with pytest.raises(DataError, match="p.csv.*" + message.replace("(", r"\(")):
        read_points(write(tmp_path / "p.csv", text), space)


def test_a_binary_file_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_bytes(b"\x1f\x8b\x08\xff")
    with pytest.raises(DataError, match="is no text file"):
        read_points(tmp_path / "p.csv", "RAS")
    with pytest.raises(DataError, match="does not exist"):
        read_points(tmp_path / "none.csv", "RAS")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ('{\n "@schema": "https://x/markups-schema-v1.0.3.json#",\n "markups": []}', r"markups of 3D Slicer .*\.fcsv"),
        ("point\n2\n1.0 2.0 3.0\n4 5 6\n", "list of points of elastix; write a table: .*--space LPS"),
        ("index\n1\n1 2 3\n", "list of points of elastix"),
        ("Point\t0\t; InputIndex = [ 1 2 3 ]\t; OutputPoint = [ 1 2 3 ]\n", "outputpoints.txt of transformix"),
    ],
)
def test_points_of_other_programs_are_named(content: str, named: str, tmp_path: Path) -> None:
    (tmp_path / "points.txt").write_text(content)
    with pytest.raises(DataError, match=f"points .*points.txt is (a|the) .*{named}"):
        read_points(tmp_path / "points.txt", "LPS")
