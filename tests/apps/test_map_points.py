"""``morphseek map-points``: the direction of points, proved with images; spaces; remarks."""

from __future__ import annotations

import csv
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from morphseek_monai.apps.main import main


def write(path: Path, points: np.ndarray, header: str = "x,y,z") -> str:
    path.write_text("\n".join([header, *(",".join(map(str, point)) for point in points)]) + "\n")
    return str(path)


def read(path: Path) -> np.ndarray:
    with open(path) as stream:
        return np.array([[float(row[axis]) for axis in "xyz"] for row in csv.DictReader(stream)])


def centre_of(path: Path) -> np.ndarray:
    """Centre of mass of an image in RAS mm."""
    image = nib.load(path)
    weights = image.get_fdata().clip(0) ** 3  # the tails are bent most
    voxel = np.indices(weights.shape).reshape(3, -1) @ weights.ravel() / weights.sum()
    return nib.affines.apply_affine(image.affine, voxel)


@pytest.mark.parametrize(("start", "to"), [("fixed", "moving"), ("moving", "fixed")])
def test_a_blob_maps_to_where_the_image_was_taken_from(
    registered: Path, tmp_path: Path, start: str, to: str
) -> None:
    """A blob at a known point of one image is warped to the other; its centre there maps back to that point."""
    image = nib.load(registered / f"{to}.nii.gz")
    grid = np.indices(image.shape).transpose(1, 2, 3, 0)
    middle = nib.affines.apply_affine(image.affine, (np.array(image.shape) - 1) / 2)
    known = middle + [2.0, -3.0, 1.5]
    squared = ((nib.affines.apply_affine(image.affine, grid) - known) ** 2).sum(-1)
    nib.save(nib.Nifti1Image((1000 * np.exp(-squared / 10)).astype(np.float32), image.affine), tmp_path / "blob.nii.gz")
    registration = ["--registration", str(registered)]
    warped = tmp_path / "warped.nii.gz"
    main(["warp-image", "--image", str(tmp_path / "blob.nii.gz"), "--to", start, "--out", str(warped), *registration])
    seen = centre_of(warped)
    assert np.linalg.norm(seen - known) > 1.5
    points = write(tmp_path / "p.csv", seen[None])
    out = tmp_path / "q.csv"
    main(["map-points", points, "--from", start, "--to", to, "--space", "RAS", "--out", str(out), *registration])
    assert np.linalg.norm(read(out)[0] - known) < 0.4


def test_simpleitk_maps_lps_points_alike(
    registered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """LPS in, LPS out; other columns and the order are kept."""
    centre = centre_of(registered / "fixed.nii.gz") * [-1, -1, 1]
    points = centre + np.random.default_rng(0).uniform(-8, 8, (6, 3))
    (tmp_path / "p.csv").write_text(
        "name,x,y,z,t\n" + "".join(f"L{n},{x},{y},{z},0\n" for n, (x, y, z) in enumerate(points))
    )
    main(
        ["map-points", str(tmp_path / "p.csv"), "--from", "fixed", "--to", "moving", "--registration", str(registered)]
        + ["--space", "LPS", "--out", str(tmp_path / "q.csv")]
    )
    printed = capsys.readouterr().out
    assert "6 points, fixed -> moving image, LPS mm" in printed and "notice" not in printed
    transform = sitk.ReadTransform(str(registered / "transform.h5"))
    expected = [transform.TransformPoint(point.tolist()) for point in points]
    assert np.allclose(read(tmp_path / "q.csv"), expected, atol=1e-4)
    lines = (tmp_path / "q.csv").read_text().splitlines()
    assert lines[0] == "name,x,y,z,t" and lines[4].startswith("L3,") and lines[4].endswith(",0")


def test_there_and_back(registered: Path, tmp_path: Path) -> None:
    points = centre_of(registered / "fixed.nii.gz") + np.random.default_rng(1).uniform(-6, 6, (5, 3))
    options = ["--registration", str(registered), "--space", "RAS"]
    main(["map-points", write(tmp_path / "p.csv", points), *options]
         + ["--from", "fixed", "--to", "moving", "--out", str(tmp_path / "q.csv")])  # fmt: skip
    main(["map-points", str(tmp_path / "q.csv"), *options]
         + ["--from", "moving", "--to", "fixed", "--out", str(tmp_path / "r.csv")])  # fmt: skip
    assert np.abs(read(tmp_path / "q.csv") - points).max() > 1
    assert np.abs(read(tmp_path / "r.csv") - points).max() < 0.1


@pytest.mark.parametrize(
    ("far", "message"),
    [(2, "2 of 3 points lie outside the fixed image, where only the affine part is known"),
     (3, "all 3 points lie outside the fixed image: are they in mm, and is the space right?")],
)  # fmt: skip
def test_points_outside_are_mapped_and_remarked_on(
    registered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], far: int, message: str
) -> None:
    points = np.repeat(centre_of(registered / "fixed.nii.gz")[None], 3, axis=0)
    points[:far] += 300
    main(
        ["map-points", write(tmp_path / "p.csv", points), "--from", "fixed", "--to", "moving", "--space", "RAS"]
        + ["--registration", str(registered), "--out", str(tmp_path / "q.csv")]
    )
    assert f"notice: {message}" in capsys.readouterr().out
    assert len(read(tmp_path / "q.csv")) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--from", "fixed", "--to", "moving"], "does not tell its coordinates' space"),
        (["--from", "fixed", "--to", "fixed"], "--from and --to must be fixed and moving, one each"),
        (["--from", "atlas", "--to", "moving"], "got --from atlas --to moving"),
        (["--to", "moving"], "give --from fixed --to moving"),
        (["--from", "fixed", "--to", "moving", "--spcae", "RAS"], "unknown option --spcae"),
    ],
)
def test_wrong_options_end_with_2(
    registered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    points = write(tmp_path / "p.csv", np.zeros((1, 3)))
    out = tmp_path / "q.csv"
    with pytest.raises(SystemExit) as stop:
        main(["map-points", points, "--registration", str(registered), "--out", str(out), *options])
    assert stop.value.code == 2 and message in capsys.readouterr().err
    assert not out.exists()
