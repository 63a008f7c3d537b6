"""``morphseek convert-transform`` on files, and the commands that take what it reads."""

from __future__ import annotations

import inspect
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from morphseek_monai.apps.convert_transform import convert_transform
from morphseek_monai.apps.main import main
from morphseek_monai.registration.folder import read_grid
from morphseek_monai.spatial.files.affine_file import read_affine
from morphseek_monai.spatial.files.transform_file import NAMED, WRITTEN, read_transform, write_transform
from morphseek_monai.spatial.format_names import FORMAT_NAMES
from morphseek_monai.spatial.transform import map_points

MATRIX = np.array([[0.98, -0.2, 0, 6], [0.2, 0.98, 0, 3], [0, 0, 1, -2], [0, 0, 0, 1.0]])


def run(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    main([str(word) for word in words])
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.count("\n") == 1
    return error


def images(registered: Path) -> list[str]:
    return ["--fixed", str(registered / "fixed.nii.gz"), "--moving", str(registered / "moving.nii.gz")]


@pytest.mark.parametrize(
    ("to", "name"),
    [("itk", "t.tfm"), ("itk-field", "t.nrrd"), ("mrtrix", "t.nii"), ("slicer", "t.h5"), ("itk-field", "t.nii.gz")],
)
def test_there_and_back(
    to: str, name: str, registered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, source = tmp_path / name, registered / "transform.h5"
    said = run(capsys, "convert-transform", source, out, "--to", to, *images(registered))
    assert said == f"{out}: {source} for {to}\n"
    grid = read_grid(registered / "fixed.nii.gz")
    points = np.array(np.meshgrid([5, 9, 12], [6, 11, 14], [4, 8, 11])).reshape(3, -1).T
    points = points @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    expected = map_points(read_transform(source), points)
    np.testing.assert_allclose(map_points(read_transform(out), points), expected, atol=1e-3)


def test_two_files_for_ants(registered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = run(capsys, "convert-transform", registered / "transform.h5", tmp_path / "my", "--to", "ants")
    assert [line.split(":")[0] for line in said.splitlines()] == [
        str(tmp_path / name) for name in ("my1Warp.nii.gz", "my0GenericAffine.mat")
    ]
    assert sitk.ReadTransform(str(tmp_path / "my0GenericAffine.mat")).IsLinear()


def test_what_a_field_does_not_cover_is_told(
    registered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fixed = nib.load(registered / "fixed.nii.gz")
    half = nib.Nifti1Image(np.zeros((fixed.shape[0] // 2, *fixed.shape[1:], 1, 3), np.float32), fixed.affine)
    half.header.set_intent(1007)
    nib.save(half, tmp_path / "half.nii.gz")
    told = f"notice: the field of {tmp_path / 'half.nii.gz'} does not cover 50 % of {registered / 'fixed.nii.gz'}"
    onto = images(registered)
    assert told in run(capsys, "convert-transform", tmp_path / "half.nii.gz", tmp_path / "t.h5", "--to", "itk", *onto)
    line = ["--image", registered / "moving.nii.gz", "--grid", registered / "fixed.nii.gz", "--out", tmp_path / "w.nii"]
    assert told in run(capsys, "warp-image", "--transform", tmp_path / "half.nii.gz", *line)


def test_an_fsl_matrix(registered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("fsl.data.image")
    write_transform(tmp_path / "a.tfm", read_transform_of(MATRIX))
    out = tmp_path / "flirt.mat"
    run(capsys, "convert-transform", tmp_path / "a.tfm", out, "--to", "fsl", *images(registered))
    grids = [read_grid(registered / f"{name}.nii.gz") for name in ("fixed", "moving")]
    np.testing.assert_allclose(read_affine(out, *grids), MATRIX, atol=1e-6)
    composing = ["compose", "--transforms", out, "--out", tmp_path / "c.h5"]
    assert "--fixed FIXED --moving MOVING" in refused(capsys, *composing)
    plain = tmp_path / "plain.mat"
    np.savetxt(plain, np.loadtxt(out))
    assert f"write fsl:{plain} or ras:{plain}" in refused(
        capsys, "convert-transform", plain, tmp_path / "b.h5", "--to", "itk", *images(registered)
    )
    line = ["--image", registered / "moving.nii.gz", "--grid", registered / "fixed.nii.gz", "--out"]
    for number, file in enumerate((tmp_path / "a.tfm", out, f"fsl:{plain}")):
        run(capsys, "warp-image", "--transform", file, *line, tmp_path / f"{number}.nii.gz")
    first, *others = (nib.load(tmp_path / f"{number}.nii.gz").get_fdata() for number in range(3))
    assert first.max() > 100 and all(np.abs(first - other).max() < 1e-2 * first.max() for other in others)


def read_transform_of(matrix):  # type: ignore[no-untyped-def]
    from morphseek_monai.spatial.point_map import PointMap

    return PointMap((matrix,))


def test_points_by_a_file(registered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savetxt(tmp_path / "p.csv", [[1, 2, 3], [4, 5, 6]], delimiter=",", header="x,y,z", comments="")
    np.savetxt(tmp_path / "a.txt", MATRIX)
    line = ["map-points", "--points", tmp_path / "p.csv", "--space", "RAS", "--out", tmp_path / "q.csv"]
    said = run(capsys, *line, "--transform", tmp_path / "a.txt")
    assert said.startswith(f"{tmp_path / 'q.csv'}: 2 points by {tmp_path / 'a.txt'}, RAS mm, moved by")
    found = np.loadtxt(tmp_path / "q.csv", delimiter=",", skiprows=1)
    np.testing.assert_allclose(found, np.array([[1, 2, 3], [4, 5, 6]]) @ MATRIX[:3, :3].T + MATRIX[:3, 3], atol=1e-5)
    assert "--transform takes no --to" in refused(capsys, *line, "--transform", tmp_path / "a.txt", "--to", "moving")
    assert "either --registration DIR" in refused(capsys, *line)


def test_wrong_arguments(registered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = registered / "transform.h5"
    assert "--to must be one of afni" in refused(capsys, "convert-transform", source, tmp_path / "t", "--to", "minc")
    assert "does not exist" in refused(capsys, "convert-transform", "fsl:none.mat", tmp_path / "t.h5", "--to", "itk")
    line = ["convert-transform", source, tmp_path / "t.h5", "--to", "itk", "--fixed", "none.nii.gz"]
    assert f"fixed image {Path.cwd()}/none.nii.gz does not exist" in refused(capsys, *line)
    assert not list(tmp_path.iterdir())


def test_every_name_is_documented() -> None:
    assert set(FORMAT_NAMES) == set(NAMED)
    told = inspect.getdoc(convert_transform) or ""
    assert all(name in told for name in WRITTEN)
